"""The cost of each user of a web service (FastAPI).

    python -m openai_meter.examples.fastapi_users

It needs ``pip install fastapi httpx``.
"""

from fastapi import FastAPI, Header
from fastapi.testclient import TestClient
from openai import AsyncOpenAI

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer


def make_app(base_url: str) -> FastAPI:
    """The service: it answers questions, and shows what each user has cost."""
    app = FastAPI()
    # Once, where the application is made. `hosts` gives the calls of the stand-in the prices of OpenAI.
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})

    @app.post("/ask")
    async def ask(question: str, x_user: str = Header()) -> str:
        with openai_meter.tag(user=x_user, operation="ask"):
            async with AsyncOpenAI(base_url=base_url, api_key="demo") as client:
                answer = await client.responses.create(model="gpt-6-luna", input=question)
        return answer.output_text

    @app.get("/costs")
    def costs() -> dict[str, str]:
        return {user: f"${totals.cost}" for user, totals in meter.by("user").items()}

    return app


def main() -> None:
    """Asks three questions as two users, and prints what each user has cost."""
    with DemoServer() as api, TestClient(make_app(api.base_url)) as browser:
        for user, question in (("claire", "What is paper for?"), ("jean", "And mail?"), ("claire", "And forms?")):
            browser.post("/ask", params={"question": question}, headers={"x-user": user}).raise_for_status()
        for user, cost in browser.get("/costs").json().items():
            print(user, cost)


if __name__ == "__main__":
    main()
