"""Attempts around bad sectors. What packs is tested in guests."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvpack_agent.backup.badsectors import Holes
from lvpack_agent.errors import Failed
from lvpack_agent.overlay import pack
from lvpack_agent.session import Session
from lvpack_agent.undo import Undo


def test_of_an_attempt_that_is_begun_anew_only_its_last_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    session = Session(action="backup", out=said.append)
    job: Any = SimpleNamespace(session=session, settings=SimpleNamespace(errors="skip"), folder=Path())
    attempts = []

    def packed(_job: object, undo: Undo, holes: Holes, tried: list[object]) -> str:
        attempts.append(holes.count)
        session.warn("a label")
        session.compression += "zstd -3"
        undo.callback(close)
        if len(attempts) < 2:
            raise Failed("cannot read the filesystem")
        undo.pop_all()
        return "packed"

    def close() -> None:
        raise Failed("cannot unmount")

    monkeypatch.setattr(pack, "_pack", packed)
    monkeypatch.setattr(Holes, "widen", lambda *_: 512)
    assert pack.pack_in_overlay(job) == "packed"
    assert (len(attempts), session.warnings, session.compression) == (2, ["a label"], "zstd -3")
    assert "while cleaning up: cannot unmount" in said
