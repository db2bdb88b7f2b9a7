"""A program does the same under ``openai-meter run`` as under plain ``python``, to the byte."""

import json
import os
import re
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from paths import PROGRAMS
from programs import ENVIRONMENT, NOTHING, PYTHON, RUN, execute

from openai_meter.testing.fake_api.server import DemoServer

FAILURES = [
    "fail", "chained", "in_handler", "group", "hook", "broken_hook", "leaving_hook", "missing_hook", "interrupt",
    "interrupt_hook", "base", "bad_syntax", "bad_import", "unprintable", "no_such_failure",
]  # fmt: skip

# A row is what comes after `python`; add one for anything that a program may do without being ended by a signal.
SAME = [
    ["show.py"],
    ["./show.py"],
    ["../programs/show.py", "--help", "--json", "-q", "-o", "x", "--", "-m", "", "*", "é", "\udcff"],
    [str(PROGRAMS / "show.py"), "--", "a b"],
    ["echo.py"],
    ["asks.py"],
    *(["exits.py", way] for way in ("0", "3", "text", "none", "object", "big", "true", "hard", "end")),
    *(["fails.py", kind] for kind in FAILURES),
    ["threads.py"],
    ["farewell.py"],
    ["farewell.py", "failing"],
    ["pickles.py"],
    *(["processes.py", method] for method in ("spawn", "fork", "forkserver")),
    *(["forks.py", way] for way in ("exit", "raise", "term")),
    *(["closes.py", *what] for what in (["stderr"], ["stdout"], ["2"], ["none"], ["pipe"])),
    *(["closes.py", what, "raise"] for what in ("stderr", "stdout", "2", "none")),
    ["package"],
    ["-m", "package"],
    ["-m", "package", "--json", "-m"],
    ["-m", "package.helper"],
    ["-m", "package.no_such_module"],
    ["-m", "no_such_module"],
    ["-m", "fails", "chained"],
    ["-m", "fails", "interrupt"],
    ["-m", "processes", "spawn"],
    ["-m", "pickles"],
]  # fmt: skip

SOURCES = {
    "grammar": b"def f(:\n  pass\n",
    "indentation": b"if 1:\n\tx = 1\n        y = 2\n",
    "unclosed": b"x = (1,\n",
    "misplaced": b"return 1\n",
    "carriage returns": b'x = "\xc3\xa9" +* 3\r\n',
    "cookie": b'# coding: latin-1\nprint(ascii("\xe9"))\n',
    "cookie, failing": b'# coding: latin-1\nprint(ascii("\xe9")); 1 / 0\n',
    "cookie, unknown": b"# coding: no-such\nprint(1)\n",
    "cookie, wrong": b'# coding: ascii\nprint("\xc3\xa9")\n',
    "mark": b"\xef\xbb\xbfprint(1)\n",
    "mark and cookie": b"\xef\xbb\xbf# coding: latin-1\nprint(1)\n",
    "undecodable": b'print(1)\nx = "\xe9"\n',
    "null": b"print(1)\n\0\n",
    "empty": b"",
    "future": b"from __future__ import annotations\ndef f(x: no_such): pass\nprint(f.__annotations__)\n",
    "no future": b"def f(x: no_such): pass\n",
    "warning": b'import warnings\nwarnings.warn("a warning")\n',
}


def default_signals():
    """Undoes what the surroundings of the tests may have set to be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_by_signal(command, number, **options):
    """Starts a command, sends a signal as soon as it is ready, and gives exit code, output, and errors."""
    with subprocess.Popen(
        command,
        cwd=PROGRAMS,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=default_signals,
        **options,
    ) as process:
        try:
            output = b""
            while not output.endswith(b"ready\n"):
                line = process.stdout.readline()
                assert line, process.stderr.read().decode()
                output += line
            process.send_signal(number)
            rest, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    return process.returncode, output + rest, errors


@pytest.mark.parametrize("program", SAME, ids=" ".join)
def test_program_ends_and_writes_as_with_plain_python(program, tmp_path):
    """Exit code, output and errors are those of plain Python, and the summary goes to its own place."""
    summary = tmp_path / "summary"
    assert execute([*RUN, "-o", summary, *program]) == execute([*PYTHON, *program])
    if program != ["exits.py", "hard"]:
        assert summary.read_bytes() == NOTHING


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_source_is_decoded_and_refused_as_by_plain_python(source, tmp_path):
    """A script is decoded, compiled and refused as plain Python does it."""
    script = tmp_path / "script.py"
    script.write_bytes(source)
    assert execute([*RUN, "-o", tmp_path / "summary", script]) == execute([*PYTHON, script])
    assert (tmp_path / "summary").read_bytes() == NOTHING


@pytest.mark.parametrize("flag", ["-P", "-I", "-u", "-O", "-Xdev", "-B"])
@pytest.mark.parametrize(
    "program", [["show.py"], ["package"], ["-m", "package"], ["farewell.py", "failing"]], ids=" ".join
)
def test_interpreter_flag_has_its_effect_under_run(flag, program, tmp_path):
    """The flags of the interpreter mean the same to the program."""
    if flag == "-I" and execute([*PYTHON, "-I", "-c", "import openai_meter"])[0]:
        pytest.skip("openai_meter is not installed, and -I leaves PYTHONPATH aside")
    assert execute([*PYTHON, flag, "-m", "openai_meter", "run", "-o", tmp_path / "summary", *program]) == execute(
        [*PYTHON, flag, *program]
    )


@pytest.mark.parametrize("kind", ["zip", "link", "compiled", "no suffix"])
def test_other_kinds_of_files_run_as_with_plain_python(kind, tmp_path):
    """An archive, a symbolic link, compiled code and a script without a suffix."""
    source = (PROGRAMS / "show.py").read_text(encoding="utf-8")
    path = tmp_path / "program"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("__main__.py", source)
            archive.write(PROGRAMS / "neighbour.py", "neighbour.py")
    elif kind == "link":
        path.symlink_to(PROGRAMS / "show.py")
    elif kind == "compiled":
        path = tmp_path / "program.pyc"
        code = f"import py_compile; py_compile.compile('show.py', {str(path)!r})"
        assert execute([*PYTHON, "-c", code])[0] == 0
        (tmp_path / "neighbour.py").touch()
    else:
        path.write_text(source, encoding="utf-8")
        (tmp_path / "neighbour.py").touch()
    plain = execute([*PYTHON, path, "a"])
    assert execute([*RUN, "-o", tmp_path / "summary", path, "a"]) == plain
    assert plain[0] == 0


def test_script_can_be_read_from_a_pipe(tmp_path):
    """A script can come out of a pipe, as the shell makes it from ``<(...)``."""
    reading, writing = os.pipe()
    os.write(writing, b"print(__file__.startswith('/dev/fd/'))")
    os.close(writing)
    try:
        result = execute([*RUN, "-q", f"/dev/fd/{reading}"], pass_fds=[reading])
    finally:
        os.close(reading)
    assert result == (0, b"True\n", NOTHING)


@pytest.mark.parametrize("module", [False, True])
def test_interrupted_program_dies_of_sigint_after_the_summary(module, tmp_path):
    """Ctrl-C ends the process by SIGINT, as it ends plain Python, after the summary."""
    program = ["-m", "waits"] if module else ["waits.py"]
    plain = end_by_signal([*PYTHON, *program], signal.SIGINT)
    code, output, errors = end_by_signal([*RUN, "-q", *program], signal.SIGINT)
    assert (code, output) == plain[:2]
    assert code == -signal.SIGINT
    assert errors.endswith(b"KeyboardInterrupt\n" + NOTHING)
    assert b"openai_meter" not in errors


@pytest.mark.parametrize(("args", "code"), [([], -signal.SIGTERM), (["handler"], 5)])
def test_terminated_program_dies_of_sigterm_after_the_summary(args, code):
    """A handler of the program's own is not changed."""
    plain = end_by_signal([*PYTHON, "waits.py", *args], signal.SIGTERM)
    metered = end_by_signal([*RUN, "-q", "waits.py", *args], signal.SIGTERM)
    assert plain[0] == code
    assert metered == (*plain[:2], plain[2] + NOTHING)


def test_ignored_sigterm_stays_ignored():
    """A process that was started to ignore SIGTERM still ignores it."""
    code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)"
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), "input": code.encode()}
    assert execute([*RUN, "-q", "/dev/stdin"], **ignore) == (0, b"True\n", NOTHING)


def test_summary_follows_all_output_of_the_program():
    """Threads, atexit handlers and buffers write before it."""
    for program in (["threads.py"], ["farewell.py", "failing"]):
        _, output, _ = execute([*RUN, "-q", *program], stderr=subprocess.STDOUT)
        assert output.endswith((NOTHING, NOTHING + b"del thing True\ndel other True\n"))
        assert output.count(NOTHING) == 1


@pytest.mark.parametrize("ending", ["", "pipe"])
def test_closed_standard_error_does_not_change_the_exit_code(ending):
    """A standard error that nobody reads any more, or that never was, does not change the exit code."""
    for command in ([*PYTHON], [*RUN]):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            assert execute([*command, "closes.py", *ending.split()], stderr=writing)[0] == 3
        finally:
            os.close(writing)
        assert execute([*command, "exits.py", "3"], preexec_fn=lambda: os.close(2))[0] == 3


def test_run_writes_no_bytecode(tmp_path):
    """Python keeps no compiled form of a script, and the command does not either."""
    (tmp_path / "script.py").write_text("print(1)", encoding="utf-8")
    environment = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": ""}
    assert execute([*RUN, "-q", "script.py"], cwd=tmp_path, env=environment) == (0, b"1\n", NOTHING)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_stack_of_a_program_has_only_the_modules_that_start_it(tmp_path):
    """Nothing of the command line lies under a running program but the modules that start it."""
    script = tmp_path / "script.py"
    script.write_text("import inspect\nfor frame in inspect.stack(): print(frame.filename)", encoding="utf-8")
    _, output, _ = execute([*RUN, "-q", script])
    files = [Path(line).name for line in output.decode().splitlines() if not line.startswith("<frozen")]
    assert files == ["script.py", "program.py", "program.py", "app.py", "__main__.py"]


def test_program_runs_if_metering_cannot_start(tmp_path):
    """The reason is written at the end."""
    (tmp_path / "sitecustomize.py").write_text(
        "import openai_meter\ndef install(**_):\n    raise RuntimeError('no way')\nopenai_meter.install = install\n",
        encoding="utf-8",
    )
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}
    for ending in ([], ["-q"], ["--json"]):
        assert execute([*RUN, *ending, "exits.py", "3"], env=environment) == (
            3,
            b"",
            b"openai-meter: metering could not start (RuntimeError: no way); the program ran unmetered\n",
        )


@pytest.fixture
def server():
    """The local stand-in for the OpenAI API."""
    with DemoServer() as server:
        yield server


@pytest.mark.parametrize("args", [[], ["raise"]])
def test_unchanged_program_is_metered(server, args):
    """Its own output stays the same."""
    program = ["asks_openai.py", server.base_url, *args]
    plain = execute([*PYTHON, *program])
    code, output, errors = execute([*RUN, *program])
    assert (code, output) == plain[:2]
    assert errors.startswith(plain[2])
    table = errors.removeprefix(plain[2]).decode()
    assert "gpt-4o-mini" in table
    assert "Traceback" not in table
    assert plain[1] == b"first True\n"


def test_json_summary_goes_to_the_output_file(server, tmp_path):
    """Standard error has only the output of the program."""
    path = tmp_path / "summary.json"
    assert execute([*RUN, "--json", "--output", path, "asks_openai.py", server.base_url]) == (0, b"first True\n", b"")
    assert json.loads(path.read_text(encoding="utf-8"))["totals"]["calls"] == 1


def test_sigterm_does_not_prevent_the_summary(server):
    """SIGTERM does not keep the summary from being said."""
    code, output, errors = end_by_signal([*RUN, "-q", "asks_openai.py", server.base_url, "wait"], signal.SIGTERM)
    assert (code, output) == (-signal.SIGTERM, b"first True\nready\n")
    assert errors.startswith(b"openai-meter: ")
    assert b"1 call" in errors


def test_forked_child_writes_its_own_summary(server, tmp_path):
    """It has the process id, and only the calls of the child."""
    path = tmp_path / "summary.json"
    program = ["asks_openai.py", server.base_url, "fork"]
    expected = b"first True\nchild True\nstatus 0\n"
    assert execute([*RUN, "--no-children", "--json", "-o", path, *program]) == (0, expected, b"")
    (childs,) = set(tmp_path.iterdir()) - {path}
    summaries = [json.loads(one.read_text(encoding="utf-8")) for one in (path, childs)]
    assert [one["totals"]["calls"] for one in summaries] == [1, 1]
    assert childs.name == f"summary.{summaries[1]['process']}.json"
    code, output, errors = execute([*RUN, "--no-children", *program])
    assert (code, output) == (0, expected)
    assert errors.startswith(b"openai-meter: forked process ")
    assert errors.count(b"\ngpt-4o-mini") == 2  # a row in each of two tables


WORK = """
import multiprocessing, os, subprocess, sys
import openai

def ask(_=None):
    client = openai.OpenAI(base_url=sys.argv[1], api_key="demo")
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    client.close()

if __name__ == "__main__":
    ask()
    way = sys.argv[2]
    if way in ("fork", "spawn"):
        workers = [multiprocessing.get_context(way).Process(target=ask) for _ in range(2)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
    if way == "subprocess":
        for _ in range(2):
            subprocess.run([sys.executable, __file__, sys.argv[1], "none"], check=True)
    if way == "os._exit":
        for _ in range(2):
            if not os.fork():
                ask()
                os._exit(0)
            os.wait()
"""


@pytest.mark.parametrize("way", ["fork", "spawn", "subprocess", "os._exit"])
def test_calls_of_child_processes_are_in_the_summary(way, server, tmp_path):
    """The summary and the report are of all processes below the program, whichever way they start and end."""
    script, report = tmp_path / "work.py", tmp_path / "report.json"
    script.write_text(WORK, encoding="utf-8")
    environment = ENVIRONMENT | {"OPENAI_METER_HOSTS": "127.0.0.1=openai", "TMPDIR": str(tmp_path)}
    code, output, errors = execute([*RUN, "--json", "--report", report, script, server.base_url, way], env=environment)
    assert (code, output) == (0, b"")
    summary = json.loads(errors)
    assert summary["totals"]["calls"] == 3
    assert (summary["processes"], summary["unmetered_processes"]) == (3, 0)
    assert summary["totals"]["unpriced_calls"] == 0
    assert json.loads(report.read_text(encoding="utf-8"))["totals"] == summary["totals"]
    assert {path.name for path in tmp_path.iterdir()} == {"work.py", "report.json"}, "the folder of the run is deleted"


def test_number_of_processes_is_below_the_table(server, tmp_path):
    """A table of several processes has a line with their number."""
    script = tmp_path / "work.py"
    script.write_text(WORK, encoding="utf-8")
    _, _, errors = execute([*RUN, script, server.base_url, "fork"])
    assert errors.decode().endswith("openai-meter: the figures are of 3 processes\n")


def test_run_without_children_makes_no_statement_about_them():
    """With --no-children nothing is claimed about the processes below."""
    _, _, errors = execute([*RUN, "--no-children", "exits.py", "end"])
    assert errors == b"openai-meter: this process made no OpenAI call\n"


def test_python_without_the_package_is_counted_as_unmetered(tmp_path):
    """A Python process below the program that cannot import openai_meter is named in the summary."""
    script = tmp_path / "starts.py"
    script.write_text(
        "import subprocess, sys\n"
        "hide = 'import sys; sys.modules[\"openai_meter\"] = None; import runpy, os; '\n"
        'run = \'runpy.run_path(os.path.join(os.environ["PYTHONPATH"].split(os.pathsep)[0], "sitecustomize.py"))\'\n'
        "subprocess.run([sys.executable, '-S', '-c', hide + run], check=True)\n",
        encoding="utf-8",
    )
    code, _, errors = execute([*RUN, "-q", script])
    assert code == 0
    assert "1 Python process was not metered" in errors.decode()


def test_sitecustomize_of_the_user_still_runs_in_children(tmp_path):
    """The user's own file on PYTHONPATH is loaded in child processes as without the meter."""
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.own_site = True", encoding="utf-8")
    script = tmp_path / "starts.py"
    script.write_text(
        "import subprocess, sys\n"
        "code = 'import sys; print(own_site, any(\"openai-meter-run\" in path for path in sys.path))'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n",
        encoding="utf-8",
    )
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    assert execute([*RUN, "-q", script], env=environment) == (0, b"True False\n", NOTHING)


def test_interrupted_program_dies_of_sigint_after_a_table(server):
    """Ctrl-C ends a program that made calls by SIGINT too: writing the table does not change how it ends."""
    code, _, errors = end_by_signal([*RUN, "asks_openai.py", server.base_url, "wait"], signal.SIGINT)
    assert b"gpt-4o-mini" in errors
    assert code == -signal.SIGINT


def test_report_option_writes_a_file_and_keeps_the_summary(server, tmp_path):
    """The file has the form of its suffix, is grouped, and is in the requested language."""
    path = tmp_path / "new" / "report.md"
    options = ["--by", "model,endpoint", "--lang", "fr", "--report", path, "-q"]
    code, output, errors = execute([*RUN, *options, "asks_openai.py", server.base_url])
    assert (code, output) == (0, b"first True\n")
    assert errors.decode().startswith("openai-meter: 1 appel | ")
    written = path.read_text(encoding="utf-8")
    assert written.startswith("**Utilisation d'OpenAI**\n")
    assert "| Modèle | Point d'accès | Appels |" in written
    assert re.search(r"\n\| gpt-4o-mini\S* \| chat.completions \| 1 \|", written)


def test_forked_child_writes_its_own_report(server, tmp_path):
    """It is next to that of its parent."""
    path = tmp_path / "report.json"
    program = ["asks_openai.py", server.base_url, "fork"]
    code, _, errors = execute([*RUN, "--no-children", "-q", "--lang", "fr", "--report", path, *program])
    assert code == 0
    assert "openai-meter: processus fils " in errors.decode()
    (childs,) = set(tmp_path.iterdir()) - {path}
    assert re.fullmatch(r"report\.\d+\.json", childs.name)
    reports = [json.loads(one.read_text(encoding="utf-8")) for one in (path, childs)]
    assert [one["totals"]["calls"] for one in reports] == [1, 1]


def test_unwritable_report_writes_a_sentence(tmp_path):
    """The exit code and the summary do not change."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report.json"
    code, _, errors = execute([*RUN, "--lang", "fr", "--report", path, "exits.py", "3"])
    assert code == 3
    first, rest = errors.decode().split("\n", 1)
    assert first.startswith(f"openai-meter: le rapport n'a pas pu être écrit dans {path} (")
    assert rest == "openai-meter: aucun appel à OpenAI n'a été fait\n"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OPENAI_METER_LANG": "fr"}, "aucun appel à OpenAI n'a été fait"),
        ({"OPENAI_METER_LANG": "", "LC_ALL": "fr_FR.UTF-8"}, "aucun appel à OpenAI n'a été fait"),
        ({"OPENAI_METER_LANG": "fr", "PYTHONIOENCODING": "ascii"}, "aucun appel a OpenAI n'a ete fait"),
        ({"OPENAI_METER_LANG": "xx"}, "no OpenAI call was made"),
    ],
)
def test_summary_is_in_the_language_of_the_environment(environment, said):
    """An unknown language does not prevent the program from running."""
    code, _, errors = execute([*RUN, "exits.py", "3"], env=ENVIRONMENT | environment)
    assert (code, errors.decode()) == (3, f"openai-meter: {said}\n")


@pytest.mark.parametrize("form", ["json", "csv", "tree", "markdown", "chat", "line", "table"])
def test_summary_has_every_form(form):
    """Where nothing was metered, formats for programs are still valid."""
    code, _, errors = execute([*RUN, "--format", form, "--by", "agent", "exits.py", "end"])
    assert code == 0
    if form == "json":
        assert json.loads(errors)["dimensions"] == ["agent"]
    elif form == "csv":
        assert errors.startswith(b"agent,calls,")
    else:
        assert errors == NOTHING
