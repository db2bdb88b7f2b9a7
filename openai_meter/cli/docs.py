"""The command ``docs``: the pages of the documentation, in the terminal.

The pages are the Markdown files of ``openai_meter/docs``. They are read through ``importlib.resources``, so that the
command works from a zip archive too. Exit code 2: there is no such page.
"""

import sys
from difflib import get_close_matches
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.output import fail, write_lines
from openai_meter.core.locale import language

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import typer

__all__ = ["add_commands", "pages", "show_page"]

_FOLDER = "docs"
_INDEX = "index"


def pages() -> dict[str, "Traversable"]:
    """The pages by topic (the name of the file without ``.md``), the index first."""
    folder = files("openai_meter").joinpath(_FOLDER)
    found = {file.name.removesuffix(".md"): file for file in folder.iterdir() if file.name.endswith(".md")}
    return dict(sorted(found.items(), key=lambda pair: (pair[0] != _INDEX, pair[0])))


def show_page(topic: str | None, lang: str | None) -> None:
    """Shows a page: through a pager on a terminal, as plain text elsewhere. Without a topic: the list of topics."""
    m = language(lang)
    found = pages()
    if topic is None:
        write_lines(*_list(found), "", m("cli.docs.choose"))
        return
    name = topic.lower().removesuffix(".md")
    if name not in found:
        near = get_close_matches(name, found, 1, 0.5)
        hint = f" {m('cli.near', names=near[0])}" if near else ""
        fail(f"{m('cli.docs.missing', topic=repr(topic), topics=', '.join(found))}{hint}", 2)
    _print(found[name].read_text(encoding="utf-8"))


def _list(found: dict[str, "Traversable"]) -> list[str]:
    """A line for each page: its topic, and its title."""
    titles = {name: _title(file.read_text(encoding="utf-8")) for name, file in found.items()}
    width = max(map(len, titles), default=0)
    return [f"  {name:<{width}}  {title}" for name, title in titles.items()]


def _title(page: str) -> str:
    return next((line.lstrip("# ").strip() for line in page.splitlines() if line.startswith("#")), "")


def _print(page: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - not for `run`
    from rich.markdown import Markdown  # noqa: PLC0415

    console = Console(emoji=False)
    if not console.is_terminal:
        write_lines(page.rstrip("\n"))
        return
    with console.pager(styles=True):
        console.print(Markdown(page, hyperlinks=False))
    sys.stdout.flush()


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    topic_argument = typer.Argument(metavar="TOPIC", help=t("docs.topic"), autocompletion=lambda: list(pages()))

    @app.command(
        "docs", cls=Command, help=t("docs"), epilog=example("openai-meter docs", "openai-meter docs index | less")
    )
    def show_docs(
        ctx: typer.Context,
        topic: Annotated[str | None, topic_argument] = None,
        *,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        ctx.obj.append(partial(show_page, topic, lang))
