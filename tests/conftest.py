"""The order of the test files, and Ctrl-C for what they start."""

import signal

import pytest

# A shell has a job in the background ignore it, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Those that drive `dvc` and browsers, slowest first: begun last, one would run alone at the end.
SLOW = (
    "test_killed",
    "test_reproducible",
    "test_pipeline",
    "test_page",
    "test_report",
    "test_storage",
    "test_stages",
    "test_export",
    "test_demo",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW)

    items.sort(key=place)
