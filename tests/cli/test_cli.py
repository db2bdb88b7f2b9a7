"""The command line: its entries, the arguments that it reads and refuses, its help, and what its commands write."""

import json
import re
import sys
from pathlib import Path

import pytest
from paths import PROGRAMS
from programs import ENVIRONMENT, NOTHING, PYTHON, RUN, execute

import openai_meter
from openai_meter.cli import app, docs, program
from openai_meter.cli import run as run_command
from openai_meter.cli.run import RunOptions
from openai_meter.cli.summary import SummaryOptions
from openai_meter.core.locale.help import en, fr
from openai_meter.testing.fake_api.workflow import STEPS

COMMAND = [*PYTHON, "-m", "openai_meter"]
SCRIPT = "import sys\nfrom openai_meter.cli.app import main\nif __name__ == '__main__':\n    sys.exit(main())\n"

REFUSED = [
    (["run", "no_such.py"], "there is no file 'no_such.py' here"),
    (["run", "no_such.py"], "openai-meter run -m no_such\n"),
    (["run", ".."], "the directory '..' has no __main__.py"),
    (["run", "sh"], "is not a Python script"),
    (["run"], "Missing argument"),
    (["run", "-m"], "Missing argument"),
    (["run", "--nothing", "show.py"], "No such option: --nothing"),
    (["run", "-o", "no_such_folder/file", "show.py"], "no_such_folder first"),
    (["run", "-o", ".", "show.py"], "'.' is a folder"),
    (["run", "-o"], "requires an argument"),
    (["run", "--lang", "xx", "show.py"], "lang='xx' is not a language of openai_meter; use one of en, fr"),
    (["run", "--by", "colour", "show.py"], "there are no totals by 'colour'"),
    (["run", "--by", ",", "show.py"], "names no dimension"),
    (["run", "--format", "pdf", "show.py"], "use one of table, tree, markdown, chat, line, json, csv"),
    (["run", "--report", "out.pdf", "show.py"], ".json"),
    (["run", "--report", "package.json/../package", "show.py"], "does not have the suffix of a report"),
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
    (["--json", "show.py", "--quiet"], {"summary": SummaryOptions(as_json=True)}),
    (["-q", "show.py"], {"summary": SummaryOptions(quiet=True)}),
    (["--quiet", "--", "show.py", "--"], {"summary": SummaryOptions(quiet=True)}),
    (["--lang", "fr", "show.py", "--lang"], {"summary": SummaryOptions(lang="fr")}),
    (["--by=agent,model", "--format", "tree", "show.py"], {"summary": SummaryOptions(by="agent,model", format="tree")}),
    (["--report", "out.json", "show.py", "--report", "x"], {"report": "out.json"}),
    (["-ofile", "show.py"], {"output": "file"}),
    (["-o", "file", "show.py"], {"output": "file"}),
    (["--output=file", "show.py"], {"output": "file"}),
    (["--output", "file", "show.py", "-o", "x"], {"output": "file"}),
    (["-m", "show", "-m"], {"module": True}),
    (["-qm", "show"], {"summary": SummaryOptions(quiet=True), "module": True}),
    (["-m", "--json", "-o", "file", "-q", "--", "show", "--", "a"],
     {"module": True, "summary": SummaryOptions(as_json=True, quiet=True), "output": "file"}),
]  # fmt: skip


@pytest.fixture(params=["module", "script"])
def entry(request, tmp_path):
    """The ways in: ``python -m openai_meter``, and the script that an installer writes."""
    if request.param == "module":
        return COMMAND
    (tmp_path / "openai-meter").write_text(SCRIPT, encoding="utf-8")
    return [*PYTHON, tmp_path / "openai-meter"]


def test_version_by_both_entries_is_that_of_the_package(entry):
    """``openai-meter`` and ``python -m openai_meter`` print it."""
    assert execute([*entry, "--version"]) == (0, f"openai-meter {openai_meter.__version__}\n".encode(), b"")


def test_program_runs_the_same_by_either_entry(entry):
    """A program cannot notice by which entry it was started."""
    assert execute([*entry, "run", "-q", "show.py", "a"]) == (
        *execute([*PYTHON, "show.py", "a"])[:2],
        NOTHING,
    )
    assert execute([*entry, "run", "-q", "fails.py", "chained"])[2] == (
        execute([*PYTHON, "fails.py", "chained"])[2] + NOTHING
    )


def test_run_loads_neither_typer_nor_rich_before_the_end():
    """Running a program loads neither typer nor rich before it is needed."""
    late = ("typer", "rich", "openai", "openai_meter.reports")
    code = f"import openai_meter.cli.app, openai_meter.cli.run, sys; print([n for n in {late} if n in sys.modules])"
    assert execute([*PYTHON, "-c", code]) == (0, b"[]\n", b"")


# --- help -------------------------------------------------------------------------------------------------------------

NAMES = [
    "run", "demo", "report", "check", "budgets", "top", "statusline", "serve", "proxy", "forecast", "compare",
    "statement", "reconcile", "export", "import", "reprice", "prune", "prices", "explain", "estimate", "doctor",
    "docs", "webhook",
]  # fmt: skip


def test_help_without_a_command_lists_all_commands(invoke):
    """Without arguments, and with --help, each command has a sentence; without arguments the exit code is not 0."""
    code, page, errors = invoke("--help")
    assert (code, errors) == (0, "")
    listed = page.partition("Commands:")[2].partition("Examples:")[0]
    lines = re.findall(r"^  ([a-z]+) +(\S.*(?:\n {6,}\S.*)*)", listed, re.MULTILINE)
    assert sorted(name for name, _ in lines) == sorted(NAMES)
    assert all(text.endswith(".") and "..." not in text for _, text in lines)
    bare = invoke()
    assert bare.code == 2
    assert bare.out + bare.err == page


@pytest.mark.parametrize(
    "command", [*([name] for name in NAMES if name != "webhook"), ["webhook", "test"]], ids=" ".join
)
def test_help_of_a_command_has_sentences_and_an_example(command, invoke):
    """The help of each command begins with a sentence, explains every option, and ends with lines to type."""
    code, page, errors = invoke(*command, "--help")
    assert not re.search(r"<(str|int|float|list|path)", page), "types of Python mean nothing to a reader"
    assert (code, errors) == (0, "")
    usage, _, rest = page.partition("\n\n")
    assert usage.startswith(f"Usage: openai-meter {' '.join(command)} ")
    assert rest.lstrip()[0].isupper()
    assert "Show this page and exit." in page
    examples = page.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(f"openai-meter {' '.join(command)}" in line for line in examples if line)


@pytest.mark.parametrize("command", [[], ["report"], ["webhook", "test"]], ids=lambda one: " ".join(one) or "app")
def test_help_in_a_french_locale_is_french(command, invoke, monkeypatch):
    """The help is in the language of the environment: sentences, options, headings, and what typer writes itself."""
    monkeypatch.setenv("OPENAI_METER_LANG", "fr")
    page = invoke(*command, "--help").out
    assert page.startswith("Usage\xa0: openai-meter")
    assert "Options\xa0:" in page
    assert "Exemples\xa0:" in page
    english = set(map(str, en.HELP.values())) - set(map(str, fr.HELP.values()))
    assert not [text for text in english if text in page]
    assert not re.search(r"Options:|Commands:|Arguments:|Show this|\[required|\[default|Install ", page)


def test_help_with_an_unknown_language_is_english(invoke, monkeypatch):
    """A language that does not exist is reported by the command, not by its help."""
    monkeypatch.setenv("OPENAI_METER_LANG", "xx")
    assert invoke("report", "--help").out.startswith("Usage: openai-meter report")


def test_help_texts_have_the_same_keys_in_all_languages():
    """Each text of the help is there in each language, with the same values to fill in."""

    def fields(text):
        return sorted(re.findall(r"(?<!\{)\{(\w+)\}", text))

    assert list(en.HELP) == list(fr.HELP)
    assert [key for key in en.HELP if fields(en.HELP[key]) != fields(fr.HELP[key])] == []


def test_commands_are_one_module_each():
    """Every module in the table adds commands, and every module of the package that does so is in the table."""
    folder = Path(app.__file__).parent
    found = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if "\ndef add_commands(" in path.read_text(encoding="utf-8")
    }
    assert found == set(app.COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_written_for_each_shell(shell, invoke, monkeypatch):
    """The shell asks the program for its completion script by a variable."""
    monkeypatch.setenv("_OPENAI_METER_COMPLETE", f"source_{shell}")
    code, script, _ = invoke()
    assert code == 0
    assert "_OPENAI_METER_COMPLETE=complete_" in script


def test_completion_completes_the_names_of_commands(invoke, monkeypatch):
    """What has been typed is completed to the names of commands."""
    monkeypatch.setenv("_OPENAI_METER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "openai-meter re")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert invoke().out.split() == ["report", "reconcile", "reprice"]


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_arguments_that_cannot_be_used_are_refused(args, message, invoke, monkeypatch):
    """The exit code is 2, and the sentence is not broken into lines."""
    monkeypatch.chdir(PROGRAMS)
    code, output, errors = invoke(*args)
    assert (code, output) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("args", "expected"), READ, ids=" ".join)
def test_run_is_read_alike_with_and_without_typer(args, expected, monkeypatch):
    """The two ways to read the arguments of run, with typer and without, agree."""
    if "ledger" in expected:
        pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: --ledger is NOT tested")
    calls = []

    def prepare(*args):
        calls.append(args)
        return print

    monkeypatch.setattr(run_command, "prepare", prepare)
    assert run_command.read(args) is print
    assert app._read_with_typer(["run", *args]) is print
    assert calls[0] == calls[1]
    summary = expected.pop("summary", SummaryOptions())
    assert calls[0][1:] == (summary, RunOptions(**expected))


def test_python_command_on_path_is_run_by_its_name(tmp_path):
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
def test_command_of_another_interpreter_is_refused(first, accepted, tmp_path, monkeypatch):
    """Only a script of this Python is run by its bare name; the message for another Python's names the remedy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tmp_path / "some-tool"
    tool.write_text(first.format(python=sys.executable) + "\n", encoding="utf-8")
    tool.chmod(0o755)
    if accepted:
        assert program.find_program("some-tool", ["a"]).argv == [str(tool), "a"]
    else:
        advice = "-m openai_meter run some-tool" if "where" in first else "is not a Python script"
        with pytest.raises(program.ProgramNotFoundError, match=advice):
            program.find_program("some-tool", ["a"])


def test_unwritable_summary_writes_a_sentence_and_keeps_the_exit_code(tmp_path):
    """The sentence is on standard error."""
    folder = tmp_path / "folder"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(f"import os; os.rmdir({str(folder)!r})", encoding="utf-8")
    code, output, errors = execute([*RUN, "-o", folder / "summary", script])
    assert (code, output) == (0, b"")
    sentence = f"the summary could not be written to {folder / 'summary'} (No such file or directory)"
    assert errors.decode() == f"openai-meter: {sentence}\n"


def test_relative_output_is_in_the_folder_of_the_command(tmp_path):
    """The path of the summary is relative to the folder of the command, whatever folder the program changes to."""
    (tmp_path / "script.py").write_text("import os; os.chdir('/')", encoding="utf-8")
    assert execute([*RUN, "-o", "summary", "script.py"], cwd=tmp_path) == (0, b"", b"")
    assert (tmp_path / "summary").read_bytes() == NOTHING


def test_json_summary_without_calls_is_valid_json():
    """Where nothing was metered, JSON is still JSON."""
    code, output, errors = execute([*RUN, "--json", PROGRAMS / "exits.py", "end"])
    assert (code, output) == (0, b"")
    assert json.loads(errors)["totals"]["calls"] == 0


# --- commands ---------------------------------------------------------------------------------------------------------


def test_demo_shows_steps_and_a_table(invoke):
    """The demo shows its steps on standard error and the table on standard output."""
    code, output, errors = invoke("demo")
    assert code == 0, errors
    assert "gpt-" in output
    assert ": " in errors.splitlines()[0]


def test_demo_is_by_agent_and_model_with_next_lines(invoke):
    """The demo shows which agent used which model at what cost, and then the next commands."""
    output = invoke("demo", "--lang", "en").out
    lines = output.splitlines()
    assert re.match("Agent +Model +Calls", lines[1])
    assert all(any(line.startswith(step.agent) for line in lines) for step in STEPS)
    following = lines[lines.index("Next:") + 1 :]
    assert [line.split("  ")[1] for line in following] == [
        "openai-meter run --by agent,model program.py",
        "openai-meter run --ledger sqlite:///usage.db program.py",
        "openai-meter demo --serve",
        "openai-meter docs",
    ]
    assert "Et ensuite\xa0:" in invoke("demo", "--lang", "fr").out


def test_demo_with_serve_serves_sixty_days(invoke, monkeypatch):
    """The dashboard of the demo shows a ledger with calls on each of sixty days, which is deleted at the end."""
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the demo's ledger is NOT tested")
    from openai_meter.cli import demo
    from openai_meter.ledger import Ledger

    served = []

    def serve(url, options, lang):
        ledger = Ledger(url)
        served.append((url, options.port, ledger.report("day").rows, ledger.report("agent").rows))
        ledger.close()

    monkeypatch.setattr(demo, "serve", serve)
    assert invoke("demo", "--serve", "--port", "0").code == 0
    ((url, port, days, agents),) = served
    assert port == 0
    assert len(days) in {59, 60}
    assert len(agents) == 4
    assert all(row.totals.cost for row in agents)
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_demo_as_json_has_all_its_calls(invoke):
    """The demo's JSON has all its calls, and --quiet leaves standard error alone."""
    code, output, errors = invoke("demo", "--json", "--quiet")
    assert (code, errors) == (0, "")
    assert json.loads(output)["totals"]["calls"] >= len(STEPS)


def test_demo_with_quiet_is_one_line(invoke):
    """With --quiet the demo is one line."""
    code, output, errors = invoke("demo", "-q")
    assert (code, errors) == (0, "")
    assert output.startswith("openai-meter: ")
    assert output.count("\n") == 1


def test_demo_by_agent_in_french_has_a_row_for_each_agent(invoke):
    """The demo shows who made the calls, and it is in French where that is asked for."""
    code, output, errors = invoke("demo", "--by", "agent", "--lang", "fr", "--format", "tree")
    assert code == 0, errors
    assert "RÉSUMÉ DES TOKENS & COÛTS" in output
    assert all(f"   • {step.agent}:\n" in output for step in STEPS)
    assert "non attribué" not in output


def test_docs_without_a_topic_lists_the_pages(invoke):
    """Without a topic, each page is listed with its title."""
    code, output, _ = invoke("docs")
    assert code == 0
    assert all(re.search(rf"^  {re.escape(name)} +\S", output, re.MULTILINE) for name in docs.pages())


def test_docs_with_a_topic_shows_its_page(invoke):
    """Without a terminal the page is written unchanged."""
    assert invoke("docs", "index").out == docs.pages()["index"].read_text(encoding="utf-8")


def test_docs_with_an_unknown_topic_names_the_pages(invoke):
    """An unknown page is refused with the pages that there are, and the nearest one."""
    code, output, errors = invoke("docs", "indx")
    assert (code, output) == (2, "")
    assert "there is no page 'indx'" in errors
    assert errors.endswith("Did you mean index?\n")


USAGE = '{"prompt_tokens": 3245, "completion_tokens": 1892, "total_tokens": 5137}'


def test_prices_and_bills_in_french_are_french(invoke):
    """Prices and bills are in the requested language; JSON is the same in all."""
    code, output, _ = invoke("prices", "gpt-4o-mini", "--lang", "fr")
    assert (code, output.startswith("Prix en dollars US par million de tokens")) == (0, True)
    code, output, _ = invoke("explain", "-m", "gpt-4o-mini", "--lang", "fr", stdin=USAGE)
    assert (code, output.startswith("Ce que l'appel a coûté")) == (0, True)
    assert "3\u202f245 tokens" in output
    code, output, errors = invoke("prices", "no-such-model", "--lang", "fr")
    assert (code, output) == (1, "")
    assert "il n'y a pas de prix pour 'no-such-model'" in errors
    french, english = (
        invoke("explain", "-m", "gpt-4o-mini", "--json", "--lang", lang, stdin=USAGE) for lang in ("fr", "en")
    )
    assert french == english


def test_prices_of_a_model_have_tiers_and_sources(invoke):
    """The prices of one model are shown with tiers, source and date, and as JSON to the last digit."""
    code, out, err = invoke("prices", "gpt-6.2-sol")
    assert (code, err) == (0, "")
    for part in ("default, long", "batch", "priority", "ultrafast", "overlay 2026-"):
        assert part in out
    rates = json.loads(invoke("prices", "gpt-5.4-mini", "--json").out)
    default = next(rate for rate in rates if rate["tier"] == "default" and not rate["bracket"])
    assert default["usd"]["input"].rstrip("0") == "0.75"
    assert {rate["model"] for rate in rates} == {"gpt-5.4-mini"}


def test_prices_without_a_model_are_those_of_all(invoke):
    """Without a model, all prices are listed."""
    models = {rate["model"] for rate in json.loads(invoke("prices", "--json").out)}
    assert {"gpt-6.2-sol", "gpt-4o-mini", "text-embedding-3-small"} <= models


def test_prices_of_an_unknown_model_exit_with_an_error(invoke):
    """The message names the command that lists the models."""
    code, out, err = invoke("prices", "no-such-model")
    assert (code, out) == (1, "")
    assert "there is no price for 'no-such-model'" in err


def test_explain_of_a_usage_object_is_a_bill(invoke):
    """A usage object on standard input becomes a bill with its sum, to the last digit."""
    code, out, _ = invoke("explain", "-m", "gpt-4o-mini", stdin=USAGE)
    assert code == 0
    assert "3,245 tokens" in out
    assert "$0.00162195" in out
    code, out, _ = invoke("explain", "-m", "gpt-4o-mini", "--batch", "--json", stdin=USAGE)
    bill = json.loads(out)
    assert (code, bill["cost"], bill["status"]) == (0, "0.000810975", "priced")
    assert [line["item"] for line in bill["lines"]] == ["input", "output"]


def test_explain_of_a_whole_answer_reads_model_and_tier(invoke):
    """An answer names its model and tier itself, and the day of the call decides the price."""
    usage = {"input_tokens": 1000, "output_tokens": 1000, "total_tokens": 2000}
    answer = {"object": "response", "model": "o3", "status": "completed", "service_tier": "default", "usage": usage}
    now = json.loads(invoke("explain", "--json", stdin=json.dumps(answer)).out)
    then = json.loads(invoke("explain", "--json", "--at", "2025-06-01", stdin=json.dumps(answer)).out)
    assert (now["cost"], then["cost"]) == ("0.01", "0.05")


@pytest.mark.parametrize(
    ("args", "stdin", "message", "code"),
    [
        (["-m", "gpt-4o-mini"], "not json", "cannot be read", 2),
        (["-m", "gpt-4o-mini"], "[]", "one JSON object", 2),
        (["-m", "gpt-4o-mini"], "{}", "no usage", 2),
        (["-m", "gpt-4o-mini", "--at", "soon"], USAGE, "cannot be read", 2),
        ([], USAGE, "--model", 2),
        (["-m", "no-such-model"], USAGE, "", 1),
    ],
)
def test_explain_of_unusable_input_exits_with_an_error(args, stdin, message, code, invoke):
    """The message names the remedy; an unknown cost has an exit code of its own."""
    found = invoke("explain", *args, stdin=stdin)
    assert found.code == code
    assert message in found.err


def test_every_sample_program_has_a_test():
    """Every sample program is run by a test."""
    tests = Path(__file__).parents[1].rglob("test_*.py")
    tested = "".join(file.read_text(encoding="utf-8") for file in tests)
    assert [
        path.name
        for path in PROGRAMS.glob("*.py")
        if f'"{path.name}"' not in tested and path.stem not in {"neighbour", "interruptions"}
    ] == []
