"""A real Chromium for tests of pages; it reaches this machine and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:  # without the packages, the tests of pages say that they are skipped
    from playwright.sync_api import Browser, Page

ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 120_000
"""Milliseconds that a test waits for what has to come; a busy machine takes its time."""


def chromium() -> str | None:
    """The program, where there is one."""
    named = os.environ.get("OPENAI_METER_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def skip_or_fail(reason: str) -> None:
    """Skips a test; where all have to run, that is a failure."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{reason}: the page is NOT tested")


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser. While it is there, the thread has a running event loop: end it before anything else needs one."""
    path = chromium()
    if path is None:
        skip_or_fail("no Chromium here; install it, or set OPENAI_METER_TEST_CHROMIUM")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, and what it should not do: complain, fail, or ask anybody but its server."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        page.context.on("request", lambda request: self.requests.append(request.url))
        page.set_default_timeout(PATIENCE)

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def strangers(self) -> list[str]:
        """What was asked of others than this machine."""
        hosts = {url: urlsplit(url) for url in self.requests}
        return [
            url
            for url, parts in hosts.items()
            if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1"
        ]
