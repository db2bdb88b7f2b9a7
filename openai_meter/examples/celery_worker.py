"""A Celery worker whose tasks are counted in a ledger.

    python -m openai_meter.examples.celery_worker

It needs ``pip install celery "openai-meter[ledger]"``. With a real broker, start the worker in a terminal of its own:
``celery -A openai_meter.examples.celery_worker worker``. Here the tasks run in this process.
"""

import os
import tempfile

from celery import Celery
from openai import OpenAI

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer

app = Celery("celery_worker", broker=os.environ.get("CELERY_BROKER", "memory://"))


@app.task
def summarize(text: str, user: str) -> str:
    """Summarizes a text for a user."""
    with openai_meter.tag(agent="summarizer", user=user), OpenAI() as client:
        return client.responses.create(model="gpt-6-luna", input=f"Summarize: {text}").output_text


def main() -> None:
    """Runs three tasks, and reads from the ledger what they have cost."""
    app.conf.task_always_eager = True
    with DemoServer() as api, tempfile.TemporaryDirectory() as folder:
        os.environ.update(OPENAI_BASE_URL=api.base_url, OPENAI_API_KEY="demo")
        ledger = f"sqlite:///{folder}/usage.db"
        meter = openai_meter.install(ledger=ledger, hosts={"127.0.0.1": "openai"})
        for user in ("claire", "jean", "claire"):
            summarize.delay("Forty people write forms by hand.", user).get()
        meter.flush()  # a worker does not need this: calls are stored within a second
        openai_meter.Ledger(ledger).report("agent,user").print()


if __name__ == "__main__":
    main()
