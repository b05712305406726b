"""Headless Chromium for the tests of what a person sees."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no Chromium here (README: `apt-get install chromium`, or `playwright install chromium`)"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser on the PATH, or the one that Playwright installed; without either, skip."""
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(MISSING)
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        args = ["--no-sandbox"] if root else []  # Chromium's can't be had by root
        browser = playwright.chromium.launch(executable_path=found, args=args)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page said and asked for while it was open."""

    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, address: str, width: int = 1280, **options: str) -> Iterator[Page]:
    """A page of that width. At the end it must have logged no error and none may have been raised.

    What it asks for stands in `page.seen.requests`.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    seen = page.seen = Seen()  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: seen.problems.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on(
        "console",
        lambda message: (
            seen.problems.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.set_default_timeout(20_000)
    try:
        page.goto(address)
        yield page
    finally:
        with_problems = seen.problems.copy()
        try:
            context.close()
        except Error as error:  # the browser died, which the test's own error tells better
            with_problems.append(str(error))
    assert not with_problems, with_problems
