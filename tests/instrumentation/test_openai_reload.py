"""What is patched when openai is loaded anew, or stubbed by a test."""

from __future__ import annotations

import contract
import pytest

_START = """
import importlib, sys
import contract, openai_meter
meter = openai_meter.install()
api = contract.Api().start()

def ask():
    import openai
    http = openai.DefaultHttpxClient(trust_env=False)
    client = openai.OpenAI(api_key="k", base_url=f"{api.url}/v1", http_client=http)
    clients.append(client)
    client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
    return client

clients = []

def forget(*prefixes):
    for name in tuple(sys.modules):
        if name in prefixes or name.startswith(tuple(f"{prefix}." for prefix in prefixes)):
            del sys.modules[name]

old = ask()
"""


_END = """
for client in clients:
    client.close()
api.close()
"""


def counted(program: str, *, fresh: bool = False) -> str:
    """What a program prints, in a process of its own."""
    code, out, err = contract.python(program, fresh=fresh)
    assert (code, err) == (0, "")
    return out.strip()


@pytest.mark.parametrize(
    "anew",
    [
        'forget("openai")',
        'forget("openai"); import openai; forget("openai")',
        "for name in ('openai._base_client', 'openai._client', 'openai'): importlib.reload(sys.modules[name])",
        'importlib.reload(sys.modules["openai"])',
        'before = dict(sys.modules); forget("openai"); ask(); sys.modules.update(before)',
    ],
    ids=["deleted", "deleted twice", "reloaded inside", "reloaded", "put back"],
)
def test_reloaded_openai_package_is_counted(anew: str) -> None:
    """Calls of the new package and of clients of the old one are counted, once each, without another install()."""
    program = f"""
{anew}
before = meter.totals.calls
ask()
old.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
list(ask().chat.completions.create(model=contract.MODEL, messages=contract.HELLO, stream=True))
print(meter.totals.calls - before, meter.totals.errors, meter.internal_errors)
"""
    assert counted(_START + program + _END) == "4 0 0"


def test_uninstall_restores_the_reloaded_package_and_the_old_one() -> None:
    """No class of either package keeps a wrapper."""
    program = """
from openai._base_client import SyncAPIClient as First
forget("openai")
ask()
from openai._base_client import SyncAPIClient as Second
openai_meter.uninstall()
print(First is Second, *(type(vars(owner)["request"]).__name__ for owner in (First, Second)))
"""
    assert counted(_START + program + _END) == "False function function"


def test_wrap_takes_a_client_of_the_package_before_its_reload() -> None:
    """wrap() takes a client whose package was reloaded after it was made."""
    program = """
openai_meter.uninstall()
openai_meter.wrap(old)
forget("openai")
ask()
openai_meter.wrap(old)
other = openai_meter.wrap(ask())
before = meter.totals.calls
for client in (old, other):
    client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
print(meter.totals.calls - before)
"""
    assert counted(_START + program + _END) == "2"


STUBS = {
    "empty module": 'types.ModuleType("openai._base_client")',
    "object": "object()",
    "mock": "unittest.mock.MagicMock()",
    "none": "None",
    "classes without request": "types.SimpleNamespace(SyncAPIClient=str, AsyncAPIClient=int)",
    "mocked classes": "types.SimpleNamespace(SyncAPIClient=unittest.mock.Mock, AsyncAPIClient=unittest.mock.Mock)",
}


@pytest.mark.parametrize("stub", STUBS.values(), ids=STUBS.keys())
def test_install_with_a_stub_of_openai_waits_for_the_real_one(stub: str) -> None:
    """install(), track() and wrap() do not fail with a stub; the real package is counted when it is imported."""
    program = f"""
import sys, types, unittest.mock
for name in ("openai", "openai._base_client", "openai.resources.realtime.realtime", "websockets"):
    sys.modules[name] = {stub}
import openai_meter
meter = openai_meter.install()
with openai_meter.track("block"):
    pass
try:
    openai_meter.wrap(object())
except openai_meter.errors.UnsupportedClientError:
    pass
for name in ("openai", "openai._base_client", "openai.resources.realtime.realtime", "websockets"):
    del sys.modules[name]
import contract
api = contract.Api().start()
with contract.sync_client(api) as client:
    contract.chat(client)
api.close()
print(meter.totals.calls, meter.internal_errors)
"""
    assert counted(program, fresh=True) == "1 0"
