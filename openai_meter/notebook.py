"""The extension for IPython and Jupyter: the cost of a cell, and of the session.

::

    %load_ext openai_meter

    %%meter                   # in the first line of a cell: shows the cost of its calls, also where the cell fails
    %%meter --by agent,model  # the same, by other dimensions; also without --by
    %meter                    # the cost of the session since the extension was loaded
    %meter --by agent,model   # by other dimensions
    %meter reset              # counts from zero again

A notebook shows tables, a terminal text. Loading installs the meter, which counts every call from then on; unloading
uninstalls it again, unless it was installed before. The calls of a cell are those that begin while it runs, in its
threads and tasks too (and in those of earlier cells, if they still work). ``await`` in the cell works as ever.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from openai_meter.api import install, uninstall
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation.listening import registry
from openai_meter.testing.capture import Capture, capture

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_HEAD = "%%meter"
_BEGIN = "--begin"
_find_option = re.compile(r"\s*--by(?:=|\s+|$)").match


class _Magics:
    """The magics of one shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._by: tuple[str, ...] = ()
        self._cell: Capture | None = None
        self._begun: str | None = None
        self._counted: str | None = None
        self._was_installed = registry.installed is not None
        self.meter = install()

    def register(self) -> None:
        self._shell.register_magic_function(self.line, "line", "meter")
        self._shell.register_magic_function(self.cell, "cell", "meter")
        self._shell.input_transformers_cleanup.append(self.transform)
        self._shell.events.register("pre_run_cell", self.begun)
        self._shell.events.register("post_run_cell", self.finish)

    def unregister(self) -> None:
        self._shell.input_transformers_cleanup.remove(self.transform)
        self._shell.events.unregister("pre_run_cell", self.begun)
        self._shell.events.unregister("post_run_cell", self.finish)
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("meter", None)
        if self._cell is not None:
            self._cell.stop()
        if not self._was_installed:
            uninstall()

    def transform(self, lines: list[str]) -> list[str]:
        """Replaces the line ``%%meter`` of a cell by a line that calls the line magic.

        The cell then runs as any other: ``await``, the value of the last line and line numbers of errors do not change.
        """
        words = lines[0].split(maxsplit=1) if lines else []
        if not words or words[0] != _HEAD or lines[0].rstrip().endswith("?"):
            return lines
        arguments = " ".join([_BEGIN, *words[1:]]).strip()
        rest = lines[1:]
        if rest and rest[0].startswith("%%"):  # another magic, which IPython only finds in the first line
            rest = import_module("IPython.core.inputtransformer2").cell_magic(rest)
        return [f"get_ipython().run_line_magic('meter', {arguments!r})\n", *rest]

    def line(self, line: str) -> Any:
        """Shows the cost of the session: ``%meter``, ``%meter --by agent``; ``%meter reset`` starts from zero."""
        if line.startswith(_BEGIN):
            self._begin(line.removeprefix(_BEGIN))
            return None
        if line.strip() == "reset":
            self.meter.reset()
            return None
        return self.meter.report(_dimensions(line))

    def cell(self, line: str, cell: str) -> None:
        """Shows the cost of the calls of the cell: ``%%meter [--by DIMENSIONS]``, such as ``%%meter --by agent``."""
        # For code that calls the magic by its name; cells are handled by transform().
        self._shell.run_cell(f"{_HEAD} {line}\n{cell}").raise_error()

    def _begin(self, line: str) -> None:
        self._by = _dimensions(line)
        if self._cell is not None:  # the end of the last cell was not reported
            self._cell.stop()
        self._cell, self._counted = capture(), self._begun
        self._cell.start()

    def begun(self, info: Any) -> None:
        """A cell begins."""
        self._begun = info.raw_cell

    def finish(self, result: Any) -> None:
        """A cell has ended: shows its cost, if it is the cell that is counted.

        Other magics, such as ``%%capture``, run the lines below them as a cell of their own.
        """
        if self._cell is None or result.info.raw_cell != self._counted:
            return
        calls, self._cell = self._cell, None
        calls.stop()
        m = language()
        if not calls and not calls.pending:
            print(f"openai-meter: {m('cli.nothing')}")  # noqa: T201 - a cell's output
            return
        report = replace(calls.report(self._by), name=m("notebook.cell"))
        import_module("IPython.display").display(report)


def _dimensions(line: str) -> tuple[str, ...]:
    """The dimensions that a magic is given; ``model``, if there are none."""
    from openai_meter.core import dimensions  # noqa: PLC0415 - not to load the extension
    from openai_meter.reports import report as values  # noqa: PLC0415

    option = _find_option(line)
    names_given = line if option is None else line[option.end() :]
    try:
        names = values.dimensions(names_given.strip().strip("'\"") or "model")
        dimensions.checked(names)
    except ConfigurationError as error:
        raise import_module("IPython.core.error").UsageError(str(error)) from None
    return names


_loaded: WeakKeyDictionary[Any, _Magics] = WeakKeyDictionary()


def load_ipython_extension(shell: Any) -> None:
    """Installs the meter and registers the magics. ``%load_ext openai_meter`` calls it.

    Raises:
        ConfigurationError: a setting of the environment cannot be used.
    """
    if shell not in _loaded:
        magics = _Magics(shell)
        magics.register()
        _loaded[shell] = magics


def unload_ipython_extension(shell: Any) -> None:
    """Removes the magics, and uninstalls the meter if loading has installed it."""
    magics = _loaded.pop(shell, None)
    if magics is not None:
        magics.unregister()
