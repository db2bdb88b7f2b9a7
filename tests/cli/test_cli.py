"""What the command ``openai-meter`` reads, refuses, and writes."""

import json
import sys
from pathlib import Path

import pytest
from paths import PROGRAMS
from programs import ENVIRONMENT, NOTHING, PYTHON, RUN, cli, execute

import openai_meter
from openai_meter.cli import app, run
from openai_meter.cli.exit_summary import Look
from openai_meter.testing.fake_api.workflow import STEPS

COMMAND = [*PYTHON, "-m", "openai_meter"]
SCRIPT = "import sys\nfrom openai_meter.cli.app import main\nif __name__ == '__main__':\n    sys.exit(main())\n"

REFUSED = [
    (["run", "no_such.py"], "there is no file 'no_such.py' here"),
    (["run", "no_such.py"], "openai-meter run -m no_such\n"),
    (["run", ".."], "the directory '..' has no __main__.py"),
    (["run", "sh"], "is no Python script"),
    (["run"], "Missing argument"),
    (["run", "-m"], "Missing argument"),
    (["run", "--nothing", "show.py"], "No such option: --nothing"),
    (["run", "-o", "no_such_folder/file", "show.py"], "no_such_folder first"),
    (["run", "-o", ".", "show.py"], "'.' is a folder"),
    (["run", "-o"], "requires an argument"),
    (["run", "--lang", "xx", "show.py"], "lang='xx' is no language of openai_meter; use one of en, fr"),
    (["run", "--by", "colour", "show.py"], "there are no totals by 'colour'"),
    (["run", "--by", ",", "show.py"], "names no dimension"),
    (["run", "--format", "pdf", "show.py"], "use one of table, tree, markdown, line, json, csv"),
    (["run", "--report", "out.pdf", "show.py"], ".json"),
    (["run", "--report", "package.json/../package", "show.py"], "says no form"),
    (["demo", "--lang", "xx"], "use one of en, fr"),
    (["demo", "--by", "colour"], "there are no totals by 'colour'"),
    (["prices", "--lang", "xx"], "use one of en, fr"),
    (["explain", "--lang", "xx"], "use one of en, fr"),
    (["no_such_command"], "No such command"),
    (["--no-such-option"], "No such option"),
]

# The arguments of `run`, each way to write them.
READ = [
    (["show.py"], {}),
    (["--ledger", "sqlite:///x.db", "show.py", "--ledger"], {"ledger": "sqlite:///x.db"}),
    (["--", "show.py"], {}),
    (["--json", "show.py", "--quiet"], {"look": Look(as_json=True)}),
    (["-q", "show.py"], {"look": Look(quiet=True)}),
    (["--quiet", "--", "show.py", "--"], {"look": Look(quiet=True)}),
    (["--lang", "fr", "show.py", "--lang"], {"look": Look(lang="fr")}),
    (["--by=agent,model", "--format", "tree", "show.py"], {"look": Look(by="agent,model", form="tree")}),
    (["--report", "out.json", "show.py", "--report", "x"], {"report": "out.json"}),
    (["-ofile", "show.py"], {"output": "file"}),
    (["-o", "file", "show.py"], {"output": "file"}),
    (["--output=file", "show.py"], {"output": "file"}),
    (["--output", "file", "show.py", "-o", "x"], {"output": "file"}),
    (["-m", "show", "-m"], {"module": True}),
    (["-qm", "show"], {"look": Look(quiet=True), "module": True}),
    (["-m", "--json", "-o", "file", "-q", "--", "show", "--", "a"],
     {"module": True, "look": Look(as_json=True, quiet=True), "output": "file"}),
]  # fmt: skip


@pytest.fixture(params=["module", "script"])
def entry(request, tmp_path):
    """The ways in: ``python -m openai_meter``, and the script that an installer writes."""
    if request.param == "module":
        return COMMAND
    (tmp_path / "openai-meter").write_text(SCRIPT, encoding="utf-8")
    return [*PYTHON, tmp_path / "openai-meter"]


def test_version(entry):
    """The version is the package's, by both ways in."""
    assert execute([*entry, "--version"]) == (0, f"openai-meter {openai_meter.__version__}\n".encode(), b"")


def test_help():
    """Bare, and with --help, all commands are named; bare is no success, as by convention."""
    code, output, errors = cli("--help")
    assert (code, errors) == (0, b"")
    assert all(name in output for name in (b"run", b"demo", b"--version"))
    bare = cli()
    assert bare[0] == 2
    assert bare[1] + bare[2] == output


@pytest.mark.parametrize("command", ["run", "demo"])
def test_help_of_command(command):
    """Every command has help, with --json in it."""
    code, output, errors = cli(command, "--help")
    assert (code, errors) == (0, b"")
    assert b"--json" in output


@pytest.mark.parametrize(
    ("args", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_refused(args, message):
    """What cannot be done is refused with exit code 2 and a sentence that is not broken into lines."""
    code, output, errors = cli(*args)
    assert (code, output) == (2, b"")
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


@pytest.mark.parametrize(("args", "expected"), READ, ids=" ".join)
def test_run_is_read_alike(args, expected, monkeypatch):
    """The two ways to read the arguments of run, with typer and without, agree."""
    if "ledger" in expected:
        pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: --ledger is NOT tested")
    seen = []

    def prepare(program, **options):
        seen.append((program, options))
        return print

    monkeypatch.setattr(app, "_prepare", prepare)
    assert app._read_run(["run", *args]) is print
    assert app._read_command_line(["run", *args]) is print
    assert seen[0] == seen[1]
    nothing = {"module": False, "look": Look(), "output": None, "report": None, "ledger": None, "serve": None}
    assert seen[0][1] == nothing | expected


def test_entries_are_alike(entry):
    """A program does not notice by which way in it was started."""
    assert execute([*entry, "run", "-q", "show.py", "a"]) == (
        *execute([*PYTHON, "show.py", "a"])[:2],
        NOTHING,
    )
    assert execute([*entry, "run", "-q", "fails.py", "chained"])[2] == (
        execute([*PYTHON, "fails.py", "chained"])[2] + NOTHING
    )


def test_command_by_name(tmp_path):
    """A Python script on PATH is run by its bare name, as plain Python runs its file."""
    tool = tmp_path / "some-tool"
    tool.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv)\nsys.exit(7)\n", encoding="utf-8")
    tool.chmod(0o755)
    environment = ENVIRONMENT | {"PATH": str(tmp_path)}
    result = execute([*RUN, "-q", "some-tool", "--json"], env=environment)
    assert result == (7, f"{[str(tool), '--json']}\n".encode(), NOTHING)


@pytest.mark.parametrize(
    ("first", "accepted"),
    [
        ("#!{python}", True),
        ("#!{python} -sP", True),
        ("#!/usr/bin/env python3", True),
        ("#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''", True),
        ("#!/somewhere/else/bin/python3", False),
        ("#!/bin/sh\n'''exec' \"/some where/bin/python\" \"$0\" \"$@\"\n' '''", False),
        ("#!/bin/sh", False),
        ("#!/usr/bin/env bash", False),
        ("\x7fELF", False),
    ],
)
def test_commands_of_other_interpreters(first, accepted, tmp_path, monkeypatch):
    """Only a script of this Python is run by its bare name; for another Python's the message says where to go."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tmp_path / "some-tool"
    tool.write_text(first.format(python=sys.executable) + "\n", encoding="utf-8")
    tool.chmod(0o755)
    if accepted:
        assert run.find_program("some-tool", ["a"]).argv == [str(tool), "a"]
    else:
        advice = "-m openai_meter run some-tool" if "where" in first else "is no Python script"
        with pytest.raises(run.ProgramNotFoundError, match=advice):
            run.find_program("some-tool", ["a"])


def test_output_cannot_be_written(tmp_path):
    """A summary that cannot be written is a sentence on standard error, not another exit code."""
    folder = tmp_path / "folder"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(f"import os; os.rmdir({str(folder)!r})", encoding="utf-8")
    code, output, errors = execute([*RUN, "-o", folder / "summary", script])
    assert (code, output) == (0, b"")
    sentence = f"the summary could not be written to {folder / 'summary'} (No such file or directory)"
    assert errors.decode() == f"openai-meter: {sentence}\n"


def test_relative_output(tmp_path):
    """The file for the summary is meant relative to where the command was given, wherever the program goes."""
    (tmp_path / "script.py").write_text("import os; os.chdir('/')", encoding="utf-8")
    assert execute([*RUN, "-o", "summary", "script.py"], cwd=tmp_path) == (0, b"", b"")
    assert (tmp_path / "summary").read_bytes() == NOTHING


def test_empty_json():
    """Where nothing was metered, JSON is still JSON."""
    code, output, errors = execute([*RUN, "--json", PROGRAMS / "exits.py", "end"])
    assert (code, output) == (0, b"")
    assert json.loads(errors)["totals"]["calls"] == 0


def test_demo():
    """The demo shows its steps on standard error and the table on standard output."""
    code, output, errors = cli("demo")
    assert code == 0, errors.decode()
    assert b"gpt-" in output
    assert b": " in errors.splitlines()[0]


def test_demo_as_json():
    """The demo's JSON has all its calls, and --quiet leaves standard error alone."""
    code, output, errors = cli("demo", "--json", "--quiet")
    assert (code, errors) == (0, b"")
    assert json.loads(output)["totals"]["calls"] >= len(STEPS)


def test_demo_in_one_line():
    """With --quiet the demo is one line."""
    code, output, errors = cli("demo", "-q")
    assert (code, errors) == (0, b"")
    assert output.startswith(b"openai-meter: ")
    assert output.count(b"\n") == 1


def test_demo_by_agent_in_french():
    """The demo says who made the calls, and speaks French."""
    code, output, errors = cli("demo", "--by", "agent", "--lang", "fr", "--format", "tree")
    assert code == 0, errors.decode()
    shown = output.decode()
    assert "RÉSUMÉ DES TOKENS & COÛTS" in shown
    assert all(f"   • {step.agent}:\n" in shown for step in STEPS)
    assert "non attribué" not in shown


def test_prices_and_bills_in_french():
    """Prices and bills are in the language asked for; JSON is the same in all."""
    code, output, _ = cli("prices", "gpt-4o-mini", "--lang", "fr")
    assert (code, output.decode().startswith("Prix en dollars US par million de tokens")) == (0, True)
    code, output, _ = cli("explain", "-m", "gpt-4o-mini", "--lang", "fr", stdin=USAGE)
    assert (code, output.decode().startswith("Ce que l'appel a coûté")) == (0, True)
    assert "3,245 tokens" in output.decode()
    code, output, errors = cli("prices", "no-such-model", "--lang", "fr")
    assert (code, output) == (1, b"")
    assert "il n'y a pas de prix pour 'no-such-model'" in errors.decode()
    french, english = (
        cli("explain", "-m", "gpt-4o-mini", "--json", "--lang", lang, stdin=USAGE) for lang in ("fr", "en")
    )
    assert french == english


def test_light():
    """Running a program loads neither typer nor rich before it is needed."""
    late = ("typer", "rich", "openai", "openai_meter.reports")
    code = f"import openai_meter.cli.app, sys; print([name for name in {late} if name in sys.modules])"
    assert execute([*PYTHON, "-c", code]) == (0, b"[]\n", b"")


def test_programs_are_whole():
    """Every sample program is run by a test."""
    tested = "".join(
        Path(file).read_text(encoding="utf-8") for file in (__file__, Path(__file__).with_name("test_run.py"))
    )
    assert [
        path.name for path in PROGRAMS.glob("*.py") if f'"{path.name}"' not in tested and path.stem != "neighbour"
    ] == []


USAGE = b'{"prompt_tokens": 3245, "completion_tokens": 1892, "total_tokens": 5137}'


def test_prices_of_a_model():
    """The prices of one model are shown with tiers, source and date, and as JSON to the last digit."""
    code, out, err = cli("prices", "gpt-6.2-sol")
    assert (code, err) == (0, b"")
    for part in (b"default, long", b"batch", b"priority", b"ultrafast", b"overlay 2026-"):
        assert part in out
    rates = json.loads(cli("prices", "gpt-5.4-mini", "--json")[1])
    default = next(rate for rate in rates if rate["tier"] == "default" and not rate["bracket"])
    assert default["usd"]["input"].rstrip("0") == "0.75"
    assert {rate["model"] for rate in rates} == {"gpt-5.4-mini"}


def test_prices_of_all_models():
    """Without a model, all prices are listed."""
    models = {rate["model"] for rate in json.loads(cli("prices", "--json")[1])}
    assert {"gpt-6.2-sol", "gpt-4o-mini", "text-embedding-3-small"} <= models


def test_a_price_that_is_not_there():
    """A model without a price is an error that says where to look."""
    code, out, err = cli("prices", "no-such-model")
    assert (code, out) == (1, b"")
    assert b"there is no price for 'no-such-model'" in err


def test_a_cost_is_explained():
    """A usage object on standard input becomes a bill with its sum, to the last digit."""
    code, out, _ = cli("explain", "-m", "gpt-4o-mini", stdin=USAGE)
    assert code == 0
    assert b"3,245 tokens" in out
    assert b"$0.00162195" in out
    code, out, _ = cli("explain", "-m", "gpt-4o-mini", "--batch", "--json", stdin=USAGE)
    bill = json.loads(out)
    assert (code, bill["cost"], bill["status"]) == (0, "0.000810975", "priced")
    assert [line["item"] for line in bill["lines"]] == ["input", "output"]


def test_a_whole_answer_is_explained():
    """An answer names its model and tier itself, and the day of the call decides the price."""
    usage = {"input_tokens": 1000, "output_tokens": 1000, "total_tokens": 2000}
    answer = {"object": "response", "model": "o3", "status": "completed", "service_tier": "default", "usage": usage}
    now = json.loads(cli("explain", "--json", stdin=json.dumps(answer).encode())[1])
    then = cli("explain", "--json", "--at", "2025-06-01", stdin=json.dumps(answer).encode())[1]
    assert (now["cost"], json.loads(then)["cost"]) == ("0.01", "0.05")


@pytest.mark.parametrize(
    ("args", "said", "why", "code"),
    [
        (["-m", "gpt-4o-mini"], b"not json", b"cannot be read", 2),
        (["-m", "gpt-4o-mini"], b"[]", b"one JSON object", 2),
        (["-m", "gpt-4o-mini"], b"{}", b"no usage", 2),
        (["-m", "gpt-4o-mini", "--at", "soon"], USAGE, b"cannot be read", 2),
        ([], USAGE, b"--model", 2),
        (["-m", "no-such-model"], USAGE, b"", 1),
    ],
)
def test_what_cannot_be_explained_is_said(args, said, why, code):
    """Input that cannot be used is an error that says what to do; a cost that is unknown has an exit code, too."""
    found, _, err = cli("explain", *args, stdin=said)
    assert found == code
    assert why in err
