"""Values can be pickled and copied, and pickles of version 0.1 can be read though its modules have moved."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import openai_meter
from openai_meter import Alert, Call, CostLine, Report, Threshold, Totals, Usage
from openai_meter.core import old_names
from openai_meter.testing import fake_client

OLD = {
    "usage": (
        "gASVTwAAAAAAAACMEm9wZW5haV9tZXRlci51c2FnZZSMBVVzYWdllJOUKYGUXZQoSwxLA0sPSwBLAEsASwBLAEsASwBLAEsASwBL"
        "AEsASwBLAEsASwCJZWIu"
    ),
    "totals": (
        "gASV3wAAAAAAAACMEW9wZW5haV9tZXRlci5zdW1zlIwGVG90YWxzlJOUKYGUXZQoSwFLAEsASwCMEm9wZW5haV9tZXRlci51c2Fn"
        "ZZSMBVVzYWdllJOUKYGUXZQoSwxLA0sPSwBLAEsASwBLAEsASwBLAEsASwBLAEsASwBLAEsASwCJZWJKgKgSAUsASwCMCGRhdGV0"
        "aW1llIwIZGF0ZXRpbWWUk5RDCgfqCx4NDy0GNemUaAqMCHRpbWV6b25llJOUaAqMCXRpbWVkZWx0YZSTlEsASwBLAIeUUpSFlFKU"
        "hpRSlGgXZWIu"
    ),
    "report": (
        "gASVvQEAAAAAAACMG29wZW5haV9tZXRlci5yZXBvcnRzLnZhbHVlc5SMBlJlcG9ydJSTlCmBlF2UKIwFbW9kZWyUhZRoAIwDUm93"
        "lJOUjApncHQtNi1sdW5hlIWUjBFvcGVuYWlfbWV0ZXIuc3Vtc5SMBlRvdGFsc5STlCmBlF2UKEsBSwBLAEsAjBJvcGVuYWlfbWV0"
        "ZXIudXNhZ2WUjAVVc2FnZZSTlCmBlF2UKEsMSwNLD0sASwBLAEsASwBLAEsASwBLAEsASwBLAEsASwBLAEsAiWViSoCoEgFLAEsA"
        "jAhkYXRldGltZZSMCGRhdGV0aW1llJOUQwoH6gseDQ8tBjXplGgVjAh0aW1lem9uZZSTlGgVjAl0aW1lZGVsdGGUk5RLAEsASwCH"
        "lFKUhZRSlIaUUpRoImVihpSBlIWUaA0pgZRdlChLAUsASwBLAGgSKYGUXZQoSwxLA0sPSwBLAEsASwBLAEsASwBLAEsASwBLAEsA"
        "SwBLAEsASwCJZWJKgKgSAUsASwBoImgiZWJoF0MKB+oLHg0PLAp4HJRoIIaUUpRoF0MKB+oLHg0PLQdlQpRoIIaUUpROSwBLAEsA"
        "KSkpZWIu"
    ),
    "alert": (
        "gASVXwAAAAAAAACMHm9wZW5haV9tZXRlci50aHJlc2hvbGRzLnZhbHVlc5SMCVRocmVzaG9sZJSTlCmBlF2UKIwEY29zdJSMB2Rl"
        "Y2ltYWyUjAdEZWNpbWFslJOUjAExlIWUUpROTmViLg=="
    ),
    "call": (
        "gASVYwEAAAAAAACMEW9wZW5haV9tZXRlci5jYWxslIwEQ2FsbJSTlCmBlF2UKIwkMDE5YTRmN2UtMDAwMC03MDAwLTgwMDAtMDAw"
        "MDAwMDAwMDAxlIwIZGF0ZXRpbWWUjAhkYXRldGltZZSTlEMKB+oLAwkeAAAAAJRoBowIdGltZXpvbmWUk5RoBowJdGltZWRlbHRh"
        "lJOUSwBLAEsAh5RSlIWUUpSGlFKURz/4AAAAAAAAjAlyZXNwb25zZXOUjAZvcGVuYWmUjApncHQtNS1taW5plGgWjANjdXSUjBJv"
        "cGVuYWlfbWV0ZXIudXNhZ2WUjAVVc2FnZZSTlCmBlF2UKEsUSwVLGUsISwBLAEsASwBLAEsASwBLAEsASwBLAEsASwBLAEsAiWVi"
        "jANhcGmUKU5OiU5OSsDh5ACMBnByaWNlZJROiU6MBndyaXRlcpROTk59lIwDZW52lIwEcHJvZJRzTk59lE5OZWIu"
    ),
    "past_alert": (
        "gASVBAEAAAAAAACMHm9wZW5haV9tZXRlci50aHJlc2hvbGRzLnZhbHVlc5SMBUFsZXJ0lJOUKYGUXZQojCQwMTlhNGY3ZS0wMDAw"
        "LTcwMDAtODAwMC0wMDAwMDAwMDAwMDKUaACMCVRocmVzaG9sZJSTlCmBlF2UKIwGdG9rZW5zlIwHZGVjaW1hbJSMB0RlY2ltYWyU"
        "k5SMAzEwMJSFlFKUTowIZGF0ZXRpbWWUjAl0aW1lZGVsdGGUk5RLAE0QDksAh5RSlGViS31oEYwIZGF0ZXRpbWWUk5RDCgfqCwMJ"
        "HgAAAACUaBGMCHRpbWV6b25llJOUaBNLAEsASwCHlFKUhZRSlIaUUpROiWViLg=="
    ),
    "line": (
        "gASVRAAAAAAAAACMGm9wZW5haV9tZXRlci5wcmljZXMudmFsdWVzlIwIQ29zdExpbmWUk5QojAVpbnB1dJRLBU5OTk5OTk5OTol0lIGULg=="
    ),
}
"""Pickles of version 0.1, in base64, as its own modules wrote them."""


def old(name):
    return pickle.loads(b64decode(OLD[name]))


def test_pickles_of_old_modules_load_as_current_values():
    """Each value that was pickled by the modules of version 0.1 is read as the value of today."""
    assert old("usage") == Usage(12, 3, 15)
    totals = old("totals")
    assert (type(totals), totals.calls, totals.total_tokens, totals.cost) == (Totals, 1, 15, Decimal("0.000018"))
    report = old("report")
    assert (type(report), report.rows[0].key, report.rows[0].totals.calls) == (Report, ("gpt-6-luna",), 1)
    assert report.to_dict()["rows"][0]["model"] == "gpt-6-luna"
    assert old("alert") == Threshold("cost", Decimal(1))
    limit = Threshold("tokens", 100, window=timedelta(hours=1))
    at = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
    assert old("past_alert") == Alert("019a4f7e-0000-7000-8000-000000000002", limit, 125, at)
    assert old("line") == CostLine("input", 5)


def test_pickle_of_an_old_call_has_the_new_status():
    """It keeps its figures."""
    call = old("call")
    assert (type(call), call.id, call.agent) == (Call, "019a4f7e-0000-7000-8000-000000000001", "writer")
    assert (call.status, call.usage, call.cost) == ("aborted", Usage(20, 5, 25, 8), Decimal("0.000015"))
    assert (call.tags, call.cost_lines) == ({"env": "prod"}, ())


def test_old_pickle_loads_before_any_import_of_the_meter():
    """A program that reads a pickle first, and imports nothing of the meter before, gets the value."""
    program = f"import pickle, base64; print(pickle.loads(base64.b64decode({OLD['alert']!r})).metric)"
    root = str(Path(openai_meter.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert (done.stdout, done.stderr) == ("cost\n", "")


@pytest.mark.parametrize("module", sorted(old_names._MOVED))
def test_each_old_name_maps_to_an_existing_class(module):
    """Every row of the table of old names leads to a class that exists."""
    for row in old_names._MOVED[module].split():
        assert isinstance(old_names.moved(module, row.partition("=")[0]), type)


def test_old_modules_have_pickled_names_only():
    """Another name in an old module raises as usual."""
    with pytest.raises(AttributeError, match="has no attribute 'Usages'"):
        old_names.moved("usage", "Usages")
    with pytest.raises(ModuleNotFoundError):
        __import__("openai_meter.no_such_module")


def test_public_classes_have_the_module_of_the_package():
    """Tracebacks, ``repr`` and pickles have the place that programs import a class from."""
    classes = []
    for name in openai_meter.__all__:
        with suppress(openai_meter.MissingExtraError):  # an installation without the ledger
            value = getattr(openai_meter, name)
            classes += [value] if isinstance(value, type) else []
    assert len(classes) > 20
    assert {cls.__name__: cls.__module__ for cls in classes} == {cls.__name__: "openai_meter" for cls in classes}


def test_priced_call_survives_pickling(meter):
    """It keeps all its fields and its bill; the price book is not included."""
    fake_client().chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Good morning"}])
    assert meter.totals.cost  # waits until the prices are read
    call = meter.calls[-1]
    assert call.price_book is not None
    assert call.cost_lines
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(call, protocol))
        assert twin == call
        assert (twin.id, twin.cost_lines, twin.price_facts) == (call.id, call.cost_lines, call.price_facts)
        assert pickle.loads(pickle.dumps(twin)).cost_lines == call.cost_lines
    assert copy.deepcopy(call) == call
    assert copy.copy(call).cost_lines == call.cost_lines


def test_missing_fields_of_a_pickle_get_their_defaults():
    """A pickle of a version with fewer fields can be read: what it does not have is as if it were not given."""
    usage = Usage.__new__(Usage)
    usage.__setstate__({"input_tokens": 7, "output_tokens": 1, "total_tokens": 8})
    assert usage == Usage(7, 1, 8)
    totals = Totals.__new__(Totals)
    totals.__setstate__([3, 1])
    assert (totals.calls, totals.errors, totals.unpriced_calls) == (3, 1, 0)
