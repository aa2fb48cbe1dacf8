"""Unit tests hold recordings of real tools and may not start a process."""

from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave property tests out of what coverage traces: that would double the time of the unit tests."""
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker("no_cover")


BLOG = Path(__file__).parent / "data/blog"


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "starts_processes" in request.keywords:
        return

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a unit test started a process")

    monkeypatch.setattr("subprocess.Popen", refuse)


@pytest.fixture
def blog() -> Path:
    """Recordings of the sample server: README there has the command of each."""
    return BLOG
