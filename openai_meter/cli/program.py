"""Runs a program in this process, metered, and otherwise as plain ``python`` runs it.

Python itself does what plain Python does: the function behind ``python -m`` runs modules and directories, and the
interpreter handles an exception that leaves the program (its exit code, death by SIGINT after a Ctrl-C). The summary is
written last: after the last thread and the program's own ``atexit`` handlers, or when SIGTERM ends the process.

A program can still notice two things: our frames are below its own on the stack, and ``signal.getsignal(SIGTERM)``
returns a function instead of ``SIG_DFL``. Python calls that function between two steps of the main thread, so SIGTERM
waits for a long computation in C. A process that ends by ``os._exit`` writes no summary.
"""

# Paths are strings here, spelled as Python spells them to the program.

from __future__ import annotations

import builtins
import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tokenize
import zipimport
from collections.abc import Callable
from functools import partial
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from openai_meter.cli.exit_summary import ExitSummary

__all__ = ["Program", "ProgramNotFoundError", "find_module", "find_program", "run"]


class ProgramNotFoundError(Exception):
    """There is no program of that name; the message contains the remedy."""


class Program(NamedTuple):
    """A program that is ready to run: what plain ``python`` would set up for it, and how it starts."""

    argv: list[str]
    """``sys.argv`` as the program finds it."""
    folder: str | None
    """``sys.path[0]``; None where Python adds no folder (``-P``)."""
    start: Callable[[], None]


def find_module(name: str, args: list[str]) -> Program:
    """The program that ``python -m name args...`` runs.

    Whether there is such a module is checked when it starts: Python itself reports that.
    """
    folder = None if sys.flags.safe_path else os.getcwd()
    return Program(["-m", *args], folder, partial(_run_module, name, alter_argv=True))


def find_program(name: str, args: list[str]) -> Program:
    """The program behind a name, as ``python name args...`` or a shell would run it.

    Args:
        name: a script; a directory or zip archive with a ``__main__.py``; or else the name of a command next to this
            Python or on PATH that is a Python script (``uvicorn``, ``pytest``).
        args: the program's own arguments.

    Raises:
        ProgramNotFoundError: it is none of these, or belongs to another Python.
    """
    if _has_main(name):
        # Python adds the archive itself even under -P: without it there would be no program.
        return Program([name, *args], _as_python_names_it(name), partial(_run_module, "__main__", alter_argv=False))
    if os.path.exists(name) and not os.path.isdir(name):
        return _script(name, args)
    command = _find_command(name)
    if command is not None:
        _check_interpreter(name, command)
        return _script(command, args) if not _has_main(command) else find_program(command, args)
    if os.path.isdir(name):
        raise ProgramNotFoundError(f"the directory {name!r} has no __main__.py; name the script to run")
    raise ProgramNotFoundError(
        f"there is no file {name!r} here, and no command of that name on PATH; "
        f"check the path, or use -m to run a module: openai-meter run -m {name.removesuffix('.py')}"
    )


def _find_command(name: str) -> str | None:
    if os.path.basename(name) != name:
        return None
    # What is installed next to this Python is for it, while PATH may lead elsewhere (or to the shims of pyenv).
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def _script(name: str, args: list[str]) -> Program:
    if not os.access(name, os.R_OK):
        raise ProgramNotFoundError(f"the file {name!r} may not be read; check its permissions")
    folder = None if sys.flags.safe_path else os.path.dirname(os.path.realpath(name))
    return Program([name, *args], folder, partial(_run_script, name))


def _has_main(name: str) -> bool:
    if os.path.isdir(name):
        return any(os.path.exists(os.path.join(name, "__main__" + suffix)) for suffix in (".py", ".pyc"))
    try:
        archive = zipimport.zipimporter(name)
    except (ImportError, OSError):
        return False
    return archive.find_spec("__main__") is not None


def _check_interpreter(name: str, command: str) -> None:
    """Refuses a command that is not a Python script, or that belongs to another Python with other packages."""
    try:
        first = Path(command).read_bytes()[:512]
    except OSError as error:
        raise ProgramNotFoundError(f"the command {command} cannot be read ({error.strerror})") from None
    if not first.startswith(b"#!"):
        if _has_main(command):  # the .exe of a script on Windows is an archive
            return
        raise ProgramNotFoundError(f"the command {command} is not a Python script; only Python programs can be metered")
    # Where the path of the interpreter is too long or has a space, #!/bin/sh is followed by '''exec' "/path/python".
    shebang = first.partition(b"'''")[0] if b"'''exec'" not in first else first.split(b'"')[1]
    interpreter = os.fsdecode(shebang.removeprefix(b"#!").split(b"\n")[0].strip())
    if "python" not in interpreter and "pypy" not in interpreter:
        raise ProgramNotFoundError(f"the command {command} is not a Python script; only Python programs can be metered")
    ours = {os.path.dirname(python) for python in (sys.executable, getattr(sys, "_base_executable", ""))}
    theirs = os.path.dirname(interpreter.split(" -")[0])
    if "env" in Path(interpreter.split()[0]).name or any(_same_folder(theirs, folder) for folder in ours):
        return
    raise ProgramNotFoundError(
        f"the command {command} belongs to another Python; install openai-meter there, "
        f"then run: {interpreter} -m openai_meter run {name}"
    )


def _same_folder(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def run(program: Program, exit_summary: ExitSummary) -> None:
    """Runs a program to its end, metered. To be called last, in the main thread, and outside of any ``try``.

    This function returns when the program's main module ends, and raises what the program raises. An exception has been
    made ready to be printed by the interpreter without our frames.

    The summary is written when the process ends. No fault of the meter or of standard error stops the program, or
    changes its exit code.

    Args:
        program: what :func:`find_program` or :func:`find_module` found.
        exit_summary: what is written at the end, in which form, and where.
    """
    exit_summary.start()
    sys.argv = program.argv
    # Python put the folder of our own script there, before any of the program's code could run.
    if not sys.flags.safe_path:
        del sys.path[:1]
    if program.folder is not None:
        sys.path.insert(0, program.folder)
    try:
        program.start()
    except SystemExit:
        raise
    except BaseException as error:
        _hide_frames(error)
        raise


_our_main: ModuleType
"""The ``__main__`` that this process began with: kept, as its code is still on the stack."""


def _fresh_main() -> ModuleType:
    """Puts a new ``__main__`` in place, with the names that the interpreter gives it, in that order."""
    global _our_main  # noqa: PLW0603
    _our_main = sys.modules["__main__"]
    main = ModuleType("__main__")
    if "__annotations__" in vars(_our_main):  # depends on the version of Python
        vars(main)["__annotations__"] = {}
    vars(main)["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _run_module(name: str, *, alter_argv: bool) -> None:
    _fresh_main()
    # The function behind `python -m` and `python folder`; private, and so named since Python 2.5.
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]  # noqa: SLF001


def _run_script(name: str) -> None:
    path = _as_python_names_it(name)
    namespace = vars(_fresh_main())
    compiled = path.endswith(".pyc")
    loader = SourcelessFileLoader("__main__", path) if compiled else SourceFileLoader("__main__", path)
    namespace.update(__loader__=loader, __file__=path)
    if "__cached__" in vars(_our_main):  # depends on the version of Python
        namespace["__cached__"] = None
    if compiled:
        code = loader.get_code("__main__")
    else:
        source = Path(name).read_bytes()
        try:
            code = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            if _is_text(source) or not os.path.isfile(name):
                raise
            code = None
    if code is None:
        _let_python_complain()
    else:
        exec(code, namespace)  # noqa: S102


def _is_text(source: bytes) -> bool:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return "\0" not in source.decode(encoding)
    except (SyntaxError, ValueError):
        return False


def _let_python_complain() -> None:
    """Lets plain Python report a script that it cannot decode: ``compile`` has another message for that."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    sys.exit(subprocess.run([sys.executable, *flags, *sys.argv], check=False).returncode)  # noqa: S603


def _as_python_names_it(name: str) -> str:
    """The absolute path of the main script in Python's spelling: on POSIX ``./a.py`` becomes ``/here/./a.py``."""
    if os.name == "nt":
        return os.path.abspath(name)
    return os.path.join(os.getcwd(), name)


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    return traceback


def _hide_frames(error: BaseException) -> None:
    """Makes the interpreter print an exception as if the program had been run without us.

    While it leaves our functions, the exception collects our frames again. So ``sys.excepthook`` is ours for one call
    of the interpreter: it restores the traceback and the program's hook, and calls that hook.
    """
    traceback = _without_our_frames(error.__traceback__)
    theirs = getattr(sys, "excepthook", None)

    def excepthook(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        value.__traceback__ = sys.last_traceback = traceback
        if theirs is None:
            del sys.excepthook
            _write("sys.excepthook is missing\n")
            sys.__excepthook__(kind, value, traceback)
            return
        sys.excepthook = theirs
        try:
            theirs(kind, value, traceback)
        except SystemExit:
            raise
        except BaseException as second:  # what the interpreter does then, again without a frame of ours
            second.__traceback__ = _without_our_frames(second.__traceback__)
            _write("Error in sys.excepthook:\n")
            sys.__excepthook__(type(second), second, second.__traceback__)
            _write("\nOriginal exception was:\n")
            sys.__excepthook__(kind, value, traceback)

    sys.excepthook = excepthook


def _write(text: str) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(text)
