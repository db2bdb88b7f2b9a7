"""The extension for IPython and Jupyter, in a real shell, and a whole notebook in a real kernel."""

from __future__ import annotations

import html.parser
import subprocess
import sys
from pathlib import Path

import openai  # noqa: F401 - shells look names up in what is imported
import pytest

import openai_meter
from openai_meter.core.locale import language
from openai_meter.instrumentation.listening import registry
from openai_meter.reports.html import as_html
from openai_meter.testing import fake_client

EVIL = "<script>alert('x')</script>&\"'"
HEAD = """
from openai_meter.testing import fake_client, fake_async_client
HELLO = [{"role": "user", "content": "hi"}]
client, aclient = fake_client(input_tokens=1_000, output_tokens=200), fake_async_client(input_tokens=5, output_tokens=1)
def ask(): return client.chat.completions.create(model="gpt-4o-mini", messages=HELLO).choices[0].message.content
"""


@pytest.fixture
def shell(capsys, tmp_path, monkeypatch):
    """An IPython shell with the extension."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    reason = "IPython is missing: %load_ext openai_meter, %meter and %%meter are NOT tested"
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason=reason)
    from traitlets.config import Config

    monkeypatch.setenv("OPENAI_METER_LANG", "en")
    config = Config()
    config.HistoryManager.enabled = False
    interactive.InteractiveShell.clear_instance()
    shell = interactive.InteractiveShell.instance(config=config, colors="nocolor")
    shell.display_pub.publish = lambda data, metadata=None, **_: SHOWN.append(data)
    SHOWN.clear()
    assert shell.run_cell(HEAD).success
    assert shell.run_cell("%load_ext openai_meter").success
    yield shell
    shell.run_cell("%unload_ext openai_meter")
    interactive.InteractiveShell.clear_instance()


SHOWN: list[dict[str, str]] = []


EXECUTE = """
import sys, nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
notebook, manager = nbformat.read(sys.argv[1], as_version=4), AsyncKernelManager()
manager.kernel_spec.argv[0] = sys.executable
NotebookClient(notebook, km=manager, allow_errors=True, timeout=120).execute()
nbformat.write(notebook, sys.argv[1])
"""
"""In a process of its own, as its sockets are closed when they like."""


class Page(html.parser.HTMLParser):
    """The texts of an HTML page, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


def test_cell_shows_its_cost(shell):
    """Its calls are a table, in HTML and as text; its own value stays."""
    result = shell.run_cell("%%meter\nask(); ask()\n41 + 1")
    assert result.result == 42
    (shown,) = SHOWN
    page = Page(shown["text/html"])
    assert page.texts[:3] == ["OpenAI usage: this cell", "Model", "Calls"]
    assert {"gpt-4o-mini-2024-07-18", "2", "2,000", "2,400", "Total"} <= set(page.texts)
    assert shown["text/plain"].startswith("OpenAI usage: this cell")
    assert "2,400" in shown["text/plain"]


def test_cell_of_async_code_is_metered(shell):
    """A cell with ``await`` runs as it always does, and its tasks count."""
    shell.run_cell(
        "%%meter\nimport asyncio\n"
        "_ = await asyncio.gather(*(aclient.chat.completions.create(model='gpt-4o', messages=HELLO) for _ in range(3)))"
    )
    assert "18" in Page(SHOWN[0]["text/html"]).texts


def test_failed_cell_shows_its_cost(shell, capsys):
    """The error is the cell's, on its own line."""
    result = shell.run_cell("%%meter\nask()\n\n1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "line 4" in capsys.readouterr().out
    assert "1,200" in Page(SHOWN[0]["text/html"]).texts


def test_cell_with_a_syntax_error_shows_nothing(shell):
    """The next one counts its own calls only."""
    assert shell.run_cell("%%meter\nask(").error_before_exec is not None
    assert SHOWN == []
    shell.run_cell("ask()")
    assert SHOWN == []
    shell.run_cell("%%meter\nask()")
    assert "1,200" in Page(SHOWN[0]["text/html"]).texts
    assert registry.captures == ()


def test_cell_without_calls_shows_a_line(shell, capsys):
    """A cell without calls says so in a line."""
    shell.run_cell("%%meter\nx = 1")
    assert capsys.readouterr().out.endswith("openai-meter: no OpenAI call was made\n")
    assert SHOWN == []


def test_cell_may_name_dimensions_and_nest_magics(shell, capsys):
    """A wrong dimension is an error before anything runs."""
    shell.run_cell("%%meter endpoint,model\nask()")
    assert Page(SHOWN[0]["text/html"]).texts[1:3] == ["Endpoint", "Model"]
    result = shell.run_cell("%%meter moon\nask()")
    assert not result.success
    assert "moon" in capsys.readouterr().err
    shell.run_cell("%%meter\n%%capture\nask()\nprint('hidden')")
    shell.run_cell("%%capture seen\n%%meter\nask()")
    assert len(SHOWN) == 2
    assert any("text/html" in one.data for one in shell.user_ns["seen"].outputs)  # where its other output is, too
    assert "hidden" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", ["--by agent,model", "--by=agent,model", "agent,model", "--by 'agent,model'", "--by  agent, model"]
)
def test_option_by_of_both_magics_sets_the_dimensions(shell, words):
    """``%%meter --by agent,model`` is as the command line has it; without ``--by`` it is the same."""
    assert shell.run_cell(
        f"%%meter {words}\nimport openai_meter\nwith openai_meter.tag(agent='writer'):\n    ask()"
    ).success
    texts = Page(SHOWN[-1]["text/html"]).texts
    assert texts[1:3] == ["Agent", "Model"]
    assert "writer" in texts
    assert shell.run_cell(f"%meter {words}").result.dimensions == ("agent", "model")


@pytest.mark.parametrize("words", ["--by agnt", "--sort agent", "--by agent --by model"])
def test_unknown_words_of_a_magic_are_a_usage_error(shell, capsys, words):
    """A misspelt dimension or option is named in one line, and the cell does not run."""
    assert not shell.run_cell(f"%%meter {words}\nask()").success
    assert "UsageError" in capsys.readouterr().err
    assert openai_meter.get_meter().totals.calls == 0


def test_magic_can_be_called_by_its_name(shell):
    """``run_cell_magic`` does the same, and raises what the cell raises."""
    shell.run_cell_magic("meter", "", "ask()")
    assert "1,200" in Page(SHOWN[0]["text/html"]).texts
    with pytest.raises(ZeroDivisionError):
        shell.run_cell_magic("meter", "", "1 / 0")


def test_session_magic_reports_all_calls(shell):
    """Since the extension was loaded; it can start again."""
    shell.run_cell("ask()")
    shell.run_cell("%%meter\nask()")
    report = shell.run_cell("%meter").result
    assert (report.dimensions, report.totals.calls) == (("model",), 2)
    assert shell.run_cell("%meter agent, model").result.dimensions == ("agent", "model")
    assert shell.run_cell("%meter reset").result is None
    assert shell.run_cell("%meter").result.totals.calls == 0
    assert not shell.run_cell("%meter moon").success


def test_unloading_removes_magics_and_meter(shell):
    """Unloading takes the magics and the meter away; reloading brings them back."""
    assert shell.run_cell("%reload_ext openai_meter").success
    transformers = len(shell.input_transformers_cleanup)
    shell.run_cell("%unload_ext openai_meter")
    assert len(shell.input_transformers_cleanup) == transformers - 1
    assert registry.installed is None
    assert "meter" not in shell.magics_manager.magics["line"] | shell.magics_manager.magics["cell"]
    openai_meter.install()
    shell.run_cell("%load_ext openai_meter")
    shell.run_cell("%unload_ext openai_meter")
    assert registry.installed is not None


def test_meter_block_and_report_are_shown_as_tables(meter):
    """As the last value of a cell."""
    with openai_meter.track("nightly") as run:
        fake_client().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    for one in (meter, run, run.report()):
        bundle = one._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html"}
        assert "gpt-4o-mini" in bundle["text/html"]
        assert "gpt-4o-mini" in bundle["text/plain"]


def test_names_in_html_are_escaped(meter):
    """Names, whatever stands in them, are text: no tag is made but the table's own."""
    with openai_meter.tag(agent=EVIL), openai_meter.track(EVIL) as run:
        client = fake_client()
        client.chat.completions.create(model=EVIL, messages=[{"role": "user", "content": "hi"}])
    for lang in ("en", "fr"):
        page = Page(as_html(run.report("agent,model"), language(lang)))
        assert set(page.tags) <= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "strong"}
        assert EVIL in page.texts


def test_notebook_runs_in_a_kernel(tmp_path, monkeypatch):
    """A notebook is executed as Jupyter does it: tables stand in its outputs, also of cells that await or fail."""
    reason = "nbclient or ipykernel is missing: that a notebook in a real kernel shows its costs is NOT tested"
    pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(Path(openai_meter.__file__).parents[1]))
    monkeypatch.setenv("OPENAI_METER_LANG", "en")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = [
        HEAD + "%load_ext openai_meter",
        "%%meter\nask()",
        "%%meter\nawait aclient.chat.completions.create(model='gpt-4o', messages=HELLO)\nNone",
        "%%meter\nask()\n1 / 0",
        "%meter",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(path, as_version=4)
    pages = [
        [one["data"]["text/html"] for one in cell.outputs if "text/html" in one.get("data", {})]
        for cell in notebook.cells
    ]
    assert [len(found) for found in pages] == [0, 1, 1, 1, 1]
    assert "6" in Page(pages[2][0]).texts
    assert "1,200" in Page(pages[3][0]).texts
    assert any(one.output_type == "error" and one.ename == "ZeroDivisionError" for one in notebook.cells[3].outputs)
    assert {"3", "2,406"} <= set(Page(pages[4][0]).texts)
