"""What a call consumed: read from the answers of the API, or estimated."""

from openai_meter.core import old_names


def __getattr__(name: str) -> object:
    # Pickles of earlier versions name this module, which was openai_meter/usage.py.
    return old_names.moved("usage", name)
