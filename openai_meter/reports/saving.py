"""Reports in files: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError
from openai_meter.reports import renderers
from openai_meter.reports.data import ReportData

__all__ = ["checked", "format_of", "opened", "save", "write"]


def save(
    report: ReportData,
    path: str | Path,
    format: str | None,  # noqa: A002
    lang: str | None,
    *,
    excel: bool = False,
) -> Path:
    """Writes a report to a file; see :meth:`Report.save`."""
    target = checked(path, format)
    name = format_of(target) if format is None else format
    text = renderers.check(name, excel=excel).render(report, language(lang))
    try:
        write(target, f"{text}\r\n" if name == "csv" else f"{text}\n")
    except OSError as error:
        why = f"the report could not be written ({error.strerror}); choose another path, or make room or rights there"
        raise OSError(error.errno, why, str(target)) from error
    return target


def checked(path: str | Path, format: str | None = None) -> Path:  # noqa: A002
    """The absolute path of a file that a report can be saved in.

    Raises:
        ConfigurationError: it is a folder, or (if no format is named) its suffix is not that of a form.
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise ConfigurationError(f"{str(path)!r} is a folder; add the name of a file, such as report.json")
    if format is None:
        format_of(target)
    return target


def format_of(path: str | Path) -> str:
    """The form of a report that has the suffix of a file.

    Raises:
        ConfigurationError: no form has that suffix.
    """
    suffix = Path(path).suffix.lower()
    for name, renderer in renderers.RENDERERS.items():
        if suffix in renderer.suffixes:
            return name
    known = ", ".join(suffix for renderer in renderers.RENDERERS.values() for suffix in renderer.suffixes)
    raise ConfigurationError(f"{str(path)!r} does not have the suffix of a report; use one of {known}")


def write(path: Path, text: str) -> None:
    """Writes a text file, in UTF-8 and with its line breaks as they are; makes the folders on the way to it.

    A reader finds the old file or the new one, never a part: the text is written to a file next to it, and moved.
    A pipe or a terminal is written to directly.

    Raises:
        OSError: it cannot be written; the old file, if there was one, is as it was.
    """
    with _place(path) as (place, mode), place.open(mode, encoding="utf-8", newline="") as file:
        file.write(text)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to; it appears, as a whole, when the block has ended well: as with :func:`write`.

    Raises:
        OSError: it cannot be written; the old file, if there was one, is as it was.
    """
    with _place(path) as (place, mode), place.open(f"{mode}b") as file:
        yield cast("BinaryIO", file)


@contextlib.contextmanager
def _place(path: Path) -> Iterator[tuple[Path, str]]:
    """Where to write what is to be at a path, and the mode to open it in; it is put there when the block has ended."""
    path = Path(os.path.realpath(path))  # the file that a link leads to is written, and the link stays
    if path.exists() and not path.is_file():
        yield path, "w"
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".openai-meter-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary, "x"
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
