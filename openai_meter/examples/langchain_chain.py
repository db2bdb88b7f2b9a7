"""A chain of LangChain, metered without a callback.

    python -m openai_meter.examples.langchain_chain

It needs ``pip install langchain-openai``.
"""

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer


def main() -> None:
    """Runs a chain for two languages, and prints what they have cost."""
    openai_meter.install(hosts={"127.0.0.1": "openai"})
    with DemoServer() as api:
        model = ChatOpenAI(model="gpt-4o-mini", base_url=api.base_url, api_key=SecretStr("demo"))
        chain = ChatPromptTemplate.from_template("Say in {language}: we want less paper.") | model
        for language in ("French", "German"):
            with openai_meter.tag(agent="translator", language=language):
                chain.invoke({"language": language})
    openai_meter.get_meter().print_summary(by="agent,tag:language")


if __name__ == "__main__":
    main()
