"""The doctor: what it finds in a sound installation, and that it finds what is broken."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import sqlite3
import string
import sys
import tomllib
import types
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import openai
import pytest
import wrapt
from paths import ROOT

import openai_meter
from openai_meter import ConfigurationError, doctor
from openai_meter.cli import app
from openai_meter.cli.doctor import checks, child, ledger_checks, patchers, trials
from openai_meter.cli.doctor import diagnosis as values
from openai_meter.cli.doctor.diagnosis import Diagnosis, Finding, Mode, Trial
from openai_meter.cli.doctor.locale import en, fr, sentences
from openai_meter.cli.doctor.tables import print_diagnosis
from openai_meter.core import faults, settings
from openai_meter.core.locale import languages
from openai_meter.instrumentation import http
from openai_meter.testing.fake_api.call_shapes import SHAPES
from openai_meter.testing.fake_api.shape_runner import ShapeRunner

PACKAGE = Path(openai_meter.__file__).parent


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The variables of the environment of the tests have no effect here."""
    for name in list(os.environ):
        if name.startswith("OPENAI_METER") and name != "OPENAI_METER_LANG":
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    """One examination by the command, for several tests: in a home and a folder of its own, while a meter is installed.

    The interpreter's own file patches one method of the SDK in each process of this environment.
    """
    home, folder, site = (tmp_path_factory.mktemp(name) for name in ("home", "here", "site"))
    (site / "usercustomize.py").write_text("")
    (site / "sitecustomize.py").write_text(SITE)
    meter = openai_meter.install(meter=openai_meter.Meter())
    before = vars(openai._base_client.SyncAPIClient)["request"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("OPENAI_")] + ["XDG_STATE_HOME"]:
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_METER_LANG", "fr")
        patch.setenv("HOME", str(home))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(PACKAGE.parent)]))
        patch.setattr(sys, "argv", ["openai-meter", "doctor", "--json", "--patience", "300"])
        with pytest.raises(SystemExit) as end:
            app.main()
    files = [*home.iterdir(), *folder.iterdir()]
    unchanged = vars(openai._base_client.SyncAPIClient)["request"] is before
    return Examined(end.value.code, json.loads(out.getvalue()), err.getvalue(), files, meter.calls, unchanged)


SITE = (
    "import openai, functools\n"
    "from openai.resources.chat.completions import Completions\n"
    "def patched(original):\n"
    "    @functools.wraps(original)\n"
    "    def call(*args, **kwargs):\n"
    "        return original(*args, **kwargs)\n"
    "    return call\n"
    "Completions.create = patched(Completions.create)\n"
)


class Examined(NamedTuple):
    """What one examination wrote and left behind."""

    code: int
    report: dict
    errors: str
    files: list
    calls: tuple
    unchanged: bool


def needs(module):
    """Skips a test of ledgers where their extra is not installed."""
    pytest.importorskip(module, reason=f"{module} is not installed: the doctor's look at a ledger is NOT tested")


def found(findings, area):
    return [(one.code, one.level) for one in findings if one.area == area]


# --- a sound installation ---------------------------------------------------------------------------------------------


def test_every_shape_is_counted_and_unchanged_on_this_sdk(examined):
    """All shapes that this SDK has are counted right, sync and async, and nothing changes for the program."""
    report = examined.report
    assert examined.errors == ""
    wrong = [one for one in report["trials"] if one["level"] == "problem" or one["outcome"] == "untried"]
    assert wrong == []
    tried = [one for one in report["trials"] if one["outcome"] in ("metered", "free")]
    assert len(tried) >= 50
    assert all(one["unchanged"] is True for one in tried)
    assert all(one["sync"]["records"] == one["expected_records"] for one in tried)
    assert report["openai"] == openai.__version__
    assert report["problems"] == 0
    assert examined.code == 0
    (threads,) = [one for one in report["findings"] if one["area"] == "threads"]
    assert threads["message"].startswith("l'attribution")
    assert (threads["code"], threads["level"]) == ("not_followed", "warning")


def test_doctor_leaves_the_program_unchanged(examined):
    """The meter of the program records none of the trials, the SDK's functions stay, and no file is made."""
    assert examined.calls == ()
    assert examined.unchanged
    assert examined.files == []


def test_patch_that_the_environment_makes_is_found(examined):
    """A library that patches the SDK in every process of this environment is found in that of the trials too."""
    (finding,) = [one for one in examined.report["findings"] if one["area"] == "patchers" and one["code"] == "unknown"]
    assert finding["values"] == {"name": "sitecustomize", "n": 1, "places": "Completions.create"}


def test_progress_goes_from_the_first_step_to_the_last(monkeypatch):
    """The callback gets the number of finished steps, in order, up to all of them."""
    lines = [("total", 3), *[("trial", None)] * 3, ("done", True)]
    script = "\n".join(f"print({json.dumps(json.dumps({'doctor': kind, 'value': value}))})" for kind, value in lines)
    monkeypatch.setattr(child, "_START", script)
    steps = []
    child.try_in_child(30, lambda done, total: steps.append((done, total)))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]


@pytest.mark.parametrize("patience", [0, -1, None, True, "5"])
def test_wrong_patience_raises(patience):
    """It has to be a number of seconds above 0."""
    with pytest.raises(ConfigurationError, match="patience="):
        doctor.examine(patience=patience)


# --- what is broken ---------------------------------------------------------------------------------------------------


def one_trial(name, *, is_async=False):
    """Tries one shape in this process."""
    faults.reraise = False
    with ShapeRunner() as cast:
        rows = tuple(shape for shape in SHAPES if shape.name == name)
        (trial,) = [one for one in trials.try_all(cast, rows) if one is not None and one.name == name]
    return trial


def test_meter_that_records_nothing_is_a_problem(tmp_path, monkeypatch, invoke):
    """Where the meter does not record calls, every shape that costs money is a problem, and the command fails."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if '-c' in sys.orig_argv:\n"
        "    from openai_meter.instrumentation import http\n"
        "    http._begin = lambda wrapped, client, args, kwargs, sdk: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PACKAGE.parent)]))
    ran = invoke("doctor", "--patience", "300")
    assert ran.code == 1
    assert ran.out.count("NOT COUNTED") >= 50
    assert "0/1" in ran.out
    assert "Calls are not counted as they should be" in ran.out


def test_unrecognised_endpoint_is_reported_as_missed(monkeypatch):
    """Where one endpoint is not recognised, it is that shape that is missed."""
    find = http.find
    monkeypatch.setattr(http, "find", lambda method, url: None if url == "/embeddings" else find(method, url))
    assert one_trial("embeddings.create").outcome == "missed"
    assert one_trial("responses.create").outcome == "metered"


def test_call_recorded_twice_is_a_problem(monkeypatch):
    """A record too many is a problem."""
    take = openai_meter.Meter._take

    def twice(meter, call):
        take(meter, call)
        take(meter, call)

    monkeypatch.setattr(openai_meter.Meter, "_take", twice)
    trial = one_trial("chat.completions.create")
    assert (trial.outcome, trial.sync.records, trial.level) == ("twice", 2, "problem")


def test_answer_changed_by_the_meter_is_a_problem(monkeypatch):
    """A difference that the program can see is a problem."""
    call = http.RequestContext.__call__

    def change(parser, parsed):
        parsed = call(parser, parsed)
        if hasattr(parsed, "choices"):
            parsed.choices[0].message.content = "changed"
        return parsed

    monkeypatch.setattr(http.RequestContext, "__call__", change)
    trial = one_trial("chat.completions.create")
    assert (trial.outcome, trial.unchanged) == ("changed", False)


def test_meter_that_raises_is_a_problem(monkeypatch):
    """A call that fails because of the meter is a problem, with the message of the exception."""
    monkeypatch.setattr(http.RequestContext, "on_return", lambda parser, answer: 1 / 0)
    trial = one_trial("chat.completions.create")
    assert (trial.outcome, trial.unchanged) == ("raised", False)
    assert trial.sync.detail == "ZeroDivisionError: division by zero"


def test_usage_that_is_not_read_is_a_problem(monkeypatch):
    """Tokens that stay unknown are a problem where the API reports them."""
    monkeypatch.setattr(http.RequestContext, "_read_answer", lambda parser, parsed: False)
    assert one_trial("embeddings.create").outcome in ("no_usage", "fault")


def test_internal_error_of_the_meter_is_a_problem(monkeypatch):
    """A fault that the meter caught is a problem, although the call succeeds."""
    monkeypatch.setattr(http.RequestContext, "_read_answer", lambda parser, parsed: 1 / 0)
    assert one_trial("chat.completions.create").outcome == "fault"


def test_trials_beyond_the_patience_are_ended():
    """After its patience the doctor stops, and reports the number of finished trials."""
    heard = child.try_in_child(0.05)
    assert [(one.code, one.level) for one in heard.findings] == [("late", "problem")]


def test_trials_before_the_end_of_the_patience_are_shown(monkeypatch):
    """Trials that finished before the limit of processor time are in the results, and in the table."""
    trial = diagnosis_of().trials[0].to_dict()
    lines = [
        ("total", 4, 0.1),
        ("trial", None, 0.2),
        ("trial", trial, 0.3),
        ("trial", trial, 99.0),
        ("trial", trial, 99.1),
    ]
    script = "\n".join(
        f"print({json.dumps(json.dumps({'doctor': kind, 'value': value, 'used': used}))}, flush=True)"
        for kind, value, used in lines
    )
    monkeypatch.setattr(child, "_START", script + "\nimport time; time.sleep(60)")
    results = child.try_in_child(18)
    assert len(results.trials) >= 2
    (finding,) = results.findings
    assert (finding.code, finding.values["tried"]) == ("late", len(results.trials))
    assert f"only the {len(results.trials)} above" in finding.message(sentences("en"))


def test_trial_that_hangs_is_ended(monkeypatch):
    """A process that writes nothing more is ended, although it uses no processor time."""
    monkeypatch.setattr(child, "_SILENCE", 0.5)
    monkeypatch.setattr(child, "_START", "import time; time.sleep(60)")
    assert [one.code for one in child.try_in_child(0.2).findings] == ["late"]


def test_busy_machine_does_not_shorten_the_patience(monkeypatch):
    """The patience is processor time, however long the trials take by the clock."""
    line = json.dumps(json.dumps({"doctor": "done", "value": True, "used": 0.1}))
    monkeypatch.setattr(child, "_START", f"import time; time.sleep(1.5); print({line})")
    assert child.try_in_child(0.5).findings == ()


def test_trials_that_crash_are_a_problem(monkeypatch):
    """The report has the last output of the process."""
    monkeypatch.setattr(child, "_START", "raise SystemExit('out of paper')")
    heard = child.try_in_child(30)
    assert heard.trials == ()
    assert [(one.code, one.values["error"]) for one in heard.findings] == [("crashed", "out of paper")]


def test_check_that_fails_is_a_warning(monkeypatch):
    """A check that fails keeps no other from being made."""
    faults.reraise = False
    monkeypatch.setattr(checks, "sdk_version", lambda: 1 / 0)
    diagnosis = doctor.examine(trials=False)
    assert ("check_failed", "warning") in found(diagnosis.findings, "trials")
    assert found(diagnosis.findings, "python") != []


# --- other patchers ---------------------------------------------------------------------------------------------------


def wrapper_from(module):
    """A wrapper function as if it had been written in a module."""
    names = {"__name__": module}
    exec("def wrapper(wrapped, instance, args, kwargs):\n    return wrapped(*args, **kwargs)", names)
    return names["wrapper"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("opentelemetry.instrumentation.openai_v2.patch", ("opentelemetry-instrumentation-openai-v2", "emitting")),
        ("opentelemetry.instrumentation.openai.shared", ("opentelemetry-instrumentation-openai", "emitting")),
        ("sentry_sdk.integrations.openai", ("sentry-sdk", "active")),
        ("our_own.meter", ("our_own.meter", "unknown")),
    ],
)
def test_patch_by_wrapt_is_found(monkeypatch, module, expected):
    """The package that wraps a method is named, and whether it may report the same tokens again."""
    kind = openai.resources.chat.completions.Completions
    monkeypatch.setattr(kind, "create", wrapt.FunctionWrapper(kind.create, wrapper_from(module)))
    findings = [one for one in checks.who_patched(()) if one.code != "idle"]
    assert [(one.values["name"], one.code) for one in findings] == [expected]
    assert findings[0].values["places"] == "Completions.create"
    assert findings[0].level == ("ok" if expected[1] == "active" else "warning")


def test_patch_by_a_closure_is_found(monkeypatch):
    """A closure under the name of the original is identified by the module of its code."""
    original = openai.resources.Embeddings.create

    @functools.wraps(original)
    def patched(*args, **kwargs):
        return original(*args, **kwargs)

    monkeypatch.setattr(openai.resources.Embeddings, "create", patched)
    assert patchers.find_patches() == (patchers.Patch("Embeddings.create", __name__),)


@pytest.mark.parametrize("module", ["dataclasses", "collections", "functools", "typing", "importlib.util"])
def test_generated_methods_of_classes_are_not_patches(monkeypatch, module):
    """Methods that the standard library makes for classes are not patches, whichever module makes them."""
    names = {"__name__": module}
    exec("def __replace__(self, **changes):\n    return self", names)
    monkeypatch.setattr(openai.resources.Embeddings, "__replace__", names["__replace__"], raising=False)
    assert patchers.find_patches() == ()


def test_patches_of_the_meter_are_not_reported():
    """A program that meters has no other patchers for that."""
    openai_meter.install(meter=openai_meter.Meter())
    assert patchers.find_patches() == ()


def test_function_restored_over_ours_is_a_problem():
    """A library that restores an older function removes our wrapper: that is a problem until install()."""
    before = openai.OpenAI.request
    meter = openai_meter.install(meter=openai_meter.Meter())
    openai.OpenAI.request = before
    try:
        assert ("bypassed", "problem") in found(checks.who_patched(()), "patchers")
        openai_meter.install(meter=meter)
        assert patchers.bypassed() == ()
    finally:
        openai_meter.uninstall()
        del openai.OpenAI.request
    assert patchers.bypassed() == ()


# --- the environment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "near"),
    [
        ("OPENAI_METER_LEGDER", "misspelled", "OPENAI_METER_LEDGER"),
        ("OPENAI_METER_STREAMUSAGE", "misspelled", "OPENAI_METER_STREAM_USAGE"),
        ("OPENAIMETER_LEDGER", "misspelled", "OPENAI_METER_LEDGER"),
        ("OPEN_AI_METER_HOSTS", "misspelled", "OPENAI_METER_HOSTS"),
        ("openai_meter_lang", "misspelled", "OPENAI_METER_LANG"),
    ],
)
def test_misspelled_variable_is_a_warning(monkeypatch, name, code, near):
    """A variable that is not read is a warning with the name of the nearest one."""
    monkeypatch.setenv(name, "x")
    (finding,) = checks._environment()
    assert (finding.code, finding.level, finding.values) == (code, "warning", {"name": name, "near": near})
    assert near in finding.message(sentences("en"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_METER_LANG", "tlh"),
        ("OPENAI_METER_STREAM_USAGE", "sometimes"),
        ("OPENAI_METER_HOSTS", "llm.example.com=acme"),
    ],
)
def test_variable_with_an_unusable_value_is_a_problem(monkeypatch, name, value):
    """A value that install() would refuse is a problem."""
    monkeypatch.setenv(name, value)
    assert ("unusable", "problem") in found(checks._environment(), "environment")


def test_known_variables_include_the_documented_ones():
    """The variables that the README and the docstrings name are known."""
    known = {settings.variable(row.name) for row in settings.SETTINGS}
    assert {"OPENAI_METER_LANG", "OPENAI_METER_LEDGER", "OPENAI_METER_HOSTS", "OPENAI_METER_STREAM_USAGE"} <= known
    assert "OPENAI_METER_LEGDER" not in known


def test_doctor_checks_every_extra_of_the_package():
    """Collections of extras are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(checks.EXTRAS) == set(project["optional-dependencies"]) - {"all", "test", "dev"}
    (openai_range,) = [one for one in project["dependencies"] if re.match(r"openai\b", one)]
    oldest = ".".join(map(str, checks._OLDEST))
    assert openai_range == f"openai>={oldest},<{checks._TOO_NEW[0]}"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, ("missing", "problem")),
        ("1.30.5", ("too_old", "problem")),
        ("1.109.1", ("supported", "ok")),
        ("3.54.0", ("supported", "ok")),
        ("4.0.0", ("too_new", "warning")),
        ("4.0.0rc1", ("too_new", "warning")),
    ],
)
def test_sdk_version_decides_the_level(monkeypatch, version, expected):
    """An SDK that is missing or too old is a problem; an untested version is a warning."""
    monkeypatch.setattr(checks, "sdk_version", lambda: version)
    assert found(checks._sdk(), "sdk") == [expected]


def test_doctor_reports_that_threads_are_followed():
    """It is reported where install() follows threads."""
    openai_meter.install(meter=openai_meter.Meter(), threads=True)
    assert found(checks._threads(), "threads") == [("followed", "ok")]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2000-01-01", [("prices", "old", "warning")]),
        ("9999-01-01", [("prices", "fresh", "ok"), ("clock", "behind", "warning")]),
    ],
)
def test_age_of_prices_decides_the_level(monkeypatch, day, expected):
    """Old prices are a warning; prices from the future mean a wrong clock."""
    monkeypatch.setattr(checks, "_newest_price", lambda: date.fromisoformat(day))
    assert [(one.area, one.code, one.level) for one in checks._prices()] == expected


def test_age_of_prices_is_that_of_the_newest_row():
    """The age of the prices is that of the row that was checked last."""
    assert date(2026, 1, 1) < checks._newest_price() <= datetime.now(UTC).date()


def test_missing_vocabulary_is_a_warning_with_the_package(monkeypatch):
    """A vocabulary that is not there is a warning that says what to install."""
    row = openai_meter.usage.estimation.encodings.Status("o200k_base", False, None, ("cache: no such folder",))
    monkeypatch.setattr(openai_meter.usage.estimation.encodings, "status", lambda: (row,))
    (finding,) = checks._vocabularies()
    assert (finding.code, finding.level) == ("missing", "warning")
    assert "openai-meter[offline]" in finding.advice(sentences("en"))


# --- the ledger -------------------------------------------------------------------------------------------------------


def ledger(url):
    needs("sqlalchemy")
    return found(ledger_checks.look_at_ledger(url), "ledger")


def test_ledger_that_is_not_named_is_ok():
    """It is reported, and is not a problem."""
    assert ledger(None) == [("none", "ok")]


def test_ledger_that_does_not_exist_is_not_made(tmp_path):
    """The check creates no file."""
    assert ledger(f"sqlite:///{tmp_path}/usage.db") == [("new", "ok")]
    assert list(tmp_path.iterdir()) == []


def test_ledger_that_is_ready_is_not_changed(tmp_path, monkeypatch):
    """A ledger is also found by its variable; the check changes no byte of it."""
    needs("sqlalchemy")
    url = f"sqlite:///{tmp_path}/usage.db"
    ours = openai_meter.Ledger(url)
    ours.prepare()
    ours.close()
    before = (tmp_path / "usage.db").read_bytes()
    monkeypatch.setenv("OPENAI_METER_LEDGER", url)
    assert ledger(None) == [("ready", "ok")]
    assert ledger(ours) == [("ready", "ok")]
    assert (tmp_path / "usage.db").read_bytes() == before


def test_database_of_another_program_is_not_changed(tmp_path):
    """A foreign table named ``calls`` is a problem, and a foreign database gets no tables of ours."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    before = path.read_bytes()
    assert ledger(f"sqlite:///{path}") == [("empty", "ok")]
    assert path.read_bytes() == before
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE calls (id TEXT)")
    connection.close()
    assert ledger(f"sqlite:///{path}") == [("unusable", "problem")]


@pytest.mark.parametrize(("version", "expected"), [(99, ("newer", "problem")), (0, ("older", "ok"))])
def test_newer_ledger_is_a_problem_and_older_one_is_not(tmp_path, version, expected):
    """A ledger of an older version is brought up to date by the next writer."""
    needs("sqlalchemy")
    url = f"sqlite:///{tmp_path}/usage.db"
    ours = openai_meter.Ledger(url)
    ours.prepare()
    ours.close()
    with sqlite3.connect(tmp_path / "usage.db") as connection:
        connection.execute("DELETE FROM openai_meter_migrations WHERE version > 1")
        connection.execute("UPDATE openai_meter_migrations SET version = ?", (version,))
    connection.close()
    assert ledger(url) == [expected]


def test_ledger_that_is_not_a_database_is_a_problem(tmp_path):
    """A file of another kind is a problem."""
    (tmp_path / "usage.db").write_text("no database, but long enough to be looked at as one")
    assert ledger(f"sqlite:///{tmp_path}/usage.db") == [("unusable", "problem")]


@pytest.mark.parametrize("url", ["usage.db", "mysql://host/db", "sqlite:///no/such/folder/usage.db"])
def test_ledger_url_that_cannot_be_used_is_a_problem(url):
    """A URL that install() would refuse is a problem, with the same message."""
    assert ledger(url) == [("unusable", "problem")]


def test_calls_in_the_spool_are_a_warning(tmp_path):
    """Calls that wait for the ledger are a warning with the number of files and their folder."""
    needs("sqlalchemy")
    spool = tmp_path / "usage.db.spool"
    spool.mkdir()
    (spool / "00000000000000000001-1-abcdef.jsonl").write_text("{}\n")
    (finding, *_) = ledger_checks.look_at_ledger(f"sqlite:///{tmp_path}/usage.db")
    assert (finding.code, finding.level, finding.values["n"], finding.values["size"]) == ("waiting", "warning", 1, 3)


def test_ledger_that_cannot_be_reached_is_a_problem(monkeypatch):
    """A server that does not answer is a problem and fails the command; its password is not shown."""
    needs("psycopg")
    monkeypatch.setenv("OPENAI_METER_LEDGER", "postgresql+psycopg://u:secret@127.0.0.1:9/db")
    monkeypatch.setenv("OPENAI_METER_LEGDER", "x")
    diagnosis = doctor.examine(trials=False)
    assert diagnosis.exit_code() == 1
    assert ("unusable", "problem") in found(diagnosis.findings, "ledger")
    assert ("misspelled", "warning") in found(diagnosis.findings, "environment")
    assert "secret" not in json.dumps(diagnosis.to_dict("en"))


# --- what is shown ----------------------------------------------------------------------------------------------------


def diagnosis_of(*levels, outcome="metered"):
    rows = (Trial("a [bold]name[/bold]", 1, Mode(outcome, 1, "api"), Mode(outcome, 1, "api", "why")),)
    return Diagnosis(rows, tuple(Finding("sdk", "missing", level) for level in levels), "3.54.0", "1.0", "3.11.7")


@pytest.mark.parametrize(
    ("levels", "code", "strict"),
    [(("ok",), 0, 0), (("ok", "warning"), 0, 1), (("warning", "problem", "ok"), 1, 1)],
)
def test_exit_code_depends_on_problems_and_strict(levels, code, strict):
    """Problems fail; warnings fail only with the option for it."""
    diagnosis = diagnosis_of(*levels)
    assert (diagnosis.exit_code(), diagnosis.exit_code(strict=True)) == (code, strict)
    assert diagnosis.level == max(levels, key=["ok", "warning", "problem"].index)


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_table_fits_every_encoding(lang, encoding):
    """Names are not markup, and a terminal with ASCII only gets a table too."""
    for outcome in values.BAD | {"metered", "absent", "untried", "not_covered", "watched", "free"}:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        print_diagnosis(diagnosis_of("ok", "problem", outcome=outcome), sentences(lang), file)
        file.flush()
        text = file.buffer.getvalue().decode(encoding)
        assert "a [bold]name[/bold]" in text
        assert max(map(len, text.splitlines())) <= 120


def test_doctor_languages_have_the_same_keys():
    """All languages have the same sentences, with the same values."""
    assert list(en.MESSAGES) == list(fr.MESSAGES)

    def fields(template):
        forms = template if isinstance(template, tuple) else (template,)
        each = [{name for _, name, _, _ in string.Formatter().parse(form) if name} for form in forms]
        return (len(each), each[0]) if all(one == each[0] for one in each) else None

    for key, template in en.MESSAGES.items():
        assert fields(template) == fields(fr.MESSAGES[key]) is not None, key


def test_every_finding_has_its_sentence():
    """Each area and code has a sentence, and each outcome a word."""
    sources = [path.read_text(encoding="utf-8") for path in (PACKAGE / "cli" / "doctor").glob("*.py")]
    pairs = {pair for source in sources for pair in re.findall(r'Finding\("(\w+)", "(\w+)"', source)}
    assert len(pairs) > 25
    assert {f"{area}.{code}" for area, code in pairs} <= set(en.MESSAGES)
    assert {f"area.{area}" for area, _ in pairs} <= set(en.MESSAGES)
    assert {f"outcome.{one}" for one in values.Outcome.__args__} <= set(en.MESSAGES)


def test_doctor_json_has_each_trial_and_finding():
    """Each with its level, its code and its sentence."""
    said = json.loads(json.dumps(diagnosis_of("problem").to_dict("en")))
    assert said["findings"] == [
        {
            "area": "sdk", "code": "missing", "level": "problem", "values": {},
            "message": "openai is not installed for this Python: there is nothing to meter",
            "advice": "Run openai-meter with the Python of your program: python -m openai_meter doctor",
        }
    ]  # fmt: skip
    assert said["trials"][0]["sync"] == {"outcome": "metered", "records": 1, "usage": "api", "detail": ""}
    assert trials.read_trial(said["trials"][0]) == diagnosis_of().trials[0]


def test_websockets_that_cannot_be_opened_are_not_a_warning(monkeypatch):
    """Without the package websockets no WebSocket can be opened, so none is uncounted; the remedy is named."""
    monkeypatch.setitem(sys.modules, "websockets", None)
    found = [*trials._connections()]
    assert {trial.outcome for trial in found} == {"absent"}
    assert all(trial.name.endswith("WebSocket (needs the package websockets)") for trial in found)


def test_connection_with_our_wrapper_is_watched(monkeypatch):
    """A WebSocket counts as watched where our own wrapper is around its connection."""
    module = types.ModuleType("openai.resources.realtime.realtime")

    class RealtimeConnection:
        def recv_bytes(self):
            return b""

    module.RealtimeConnection = RealtimeConnection
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def outcome():
        return {trial.name: trial.sync.outcome for trial in trials._connections()}["realtime, WebSocket"]

    assert outcome() == "not_covered"
    wrapper = wrapper_from("openai_meter.instrumentation.websockets.patch")
    RealtimeConnection.recv_bytes = wrapt.FunctionWrapper(RealtimeConnection.recv_bytes, wrapper)
    assert outcome() == "watched"
