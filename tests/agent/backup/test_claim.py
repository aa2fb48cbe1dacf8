"""A journal folder is one machine's at a time, also where nothing tells two machines apart."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lvpack_agent.backup import claim
from lvpack_agent.backup.claim_holder import this_machine
from lvpack_agent.errors import Disagreement, Failed, LvpackError, Refused


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(claim, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(claim, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(claim, "_POLL_SECONDS", 0.02)
    yield


def cut_off(folder: Path) -> None:
    """Leave a claim as a power cut does: nobody rewrites it, nobody releases it."""
    with claim.held(folder, print):
        text = next(folder.glob("claim-*")).read_bytes()
        (folder / "kept").touch()
    next(folder.glob("claim-*")).write_bytes(text)


def test_a_folder_that_was_only_held_is_gone(tmp_path: Path) -> None:
    with claim.held(tmp_path / "journal", print) as held:
        held.check()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_taken_at_once_when_it_was_released(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with claim.held(folder, print) as held:
        (folder / "record").touch()
        with pytest.raises(Refused, match="another machine"), claim.held(folder, print):
            pass
        held.check()
    begun = time.monotonic()
    with claim.held(folder, print):
        assert sorted(p.name for p in folder.iterdir()) == ["claim-000002", "record"]
    assert time.monotonic() - begun < 0.5


def test_a_folder_of_a_machine_that_was_cut_off_is_taken_when_it_is_silent(tmp_path: Path) -> None:
    folder, said = tmp_path / "journal", list[str]()
    cut_off(folder)
    with claim.held(folder, said.append) as held:
        held.check()
    assert len(said) == 1 and "wait 0 s" in said[0]


def test_a_machine_whose_server_was_away_for_long_is_not_taken_for_silent(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with claim.held(folder, print) as held:
        [path] = folder.glob("claim-*")
        os.utime(path, (time.time() - 600, time.time() - 600))
        with pytest.raises(Refused, match="another machine"), claim.held(folder, print):
            pass
        held.check()


def left_by_another(folder: Path, patience: int, age: float) -> Path:
    """Leave a claim that was made on another machine, and was rewritten age seconds ago."""
    with claim.held(folder, print, patience):
        [path] = folder.glob("claim-*")
        text = path.read_bytes().replace(this_machine().encode(), b"0123456789abcdef")
        (folder / "kept").touch()
    path.write_bytes(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_another_machine_may_live_as_long_as_its_patience_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off from the server, and this machine is not."""
    monkeypatch.setattr(claim, "BACK_SECONDS", 0.3)
    folder, said = tmp_path / "journal", list[str]()
    path = left_by_another(folder, patience=600, age=100)
    waiting = threading.Thread(target=claim._wait_for_silence, args=(folder, 1, said.append))
    waiting.start()
    time.sleep(0.6)
    assert waiting.is_alive() and "wait 5" in said[0] and f"Another one has made {path.name}" in said[0]
    path.write_text(f"{path.read_text().rsplit(maxsplit=1)[0]} {claim.RELEASED}")
    waiting.join(5)
    assert not waiting.is_alive()


def test_another_machine_that_is_over_is_watched_until_it_could_have_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "BACK_SECONDS", 0.7)
    folder = tmp_path / "journal"
    left_by_another(folder, patience=10, age=1000)
    begun = time.monotonic()
    with claim.held(folder, print) as held:
        held.check()
    assert time.monotonic() - begun >= 0.7


def test_who_could_not_see_a_claim_has_not_watched_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share was out; when it is back, this machine reads the claim before its holder writes it."""
    monkeypatch.setattr(claim, "_AWAY_SECONDS", 0.3)
    folder = tmp_path / "journal"
    read, looks = claim._read, [0]

    def slow(path: Path) -> str | None:
        looks[0] += 1
        text = read(path)
        if looks[0] == 3:
            time.sleep(0.6)  # longer than the whole watch
        return text

    with claim.held(folder, print) as held:
        [path] = folder.glob("claim-*")
        held._over.set()  # it does not come through while the share is out
        held._thread.join()
        monkeypatch.setattr(claim, "_read", slow)
        back = threading.Timer(0.75, held._rewrite)
        back.start()
        os.utime(path, (0, 0))
        with pytest.raises(Refused, match="another machine"):
            claim._wait_for_silence(folder, 1, print)
        monkeypatch.setattr(claim, "_read", read)
        held.check()


def test_a_claim_that_is_not_the_newest_is_none(tmp_path: Path) -> None:
    """Of three, one may come so late that its number is free again."""
    folder = tmp_path / "journal"
    with claim.held(folder, print):
        (folder / "claim-000003").write_text("another's")
        late = claim.Claim(folder, 2)
        with pytest.raises(FileExistsError):
            late.make()
        (folder / "claim-000001").touch()
        with pytest.raises(Disagreement, match="taken over"):
            late.check()
        assert not (folder / "claim-000002").exists()


def test_a_claim_that_is_empty_is_taken_over_like_any_other(tmp_path: Path) -> None:
    """The power, or the room on the share, went while it was made."""
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "claim-000003").touch()
    with claim.held(folder, print) as held:
        held.check()
        assert [path.name for path in folder.iterdir()] == ["claim-000004"]


def test_a_claim_that_finds_no_room_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "journal"
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(Failed, match="No space left"), claim.held(folder, print):
            pass
    assert list(folder.iterdir()) == []


def test_nobody_says_that_nothing_was_done_who_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/claim-000001").mkdir()
    with pytest.raises(Failed) as failed, claim.held(tmp_path / "journal", print):
        pass
    assert "nothing was done" not in failed.value.hint and "do not start" in failed.value.hint


def test_who_has_lost_the_folder_learns_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with claim.held(folder, print) as held:
        (folder / "record").touch()
        [path] = folder.glob("claim-*")
        path.unlink()
        time.sleep(0.2)
        assert not path.exists(), "it is not made again"
        with pytest.raises(Failed, match="the file server has lost 'claim-000001'") as failed:
            held.check()
        assert not isinstance(failed.value, Disagreement) and "sync" in failed.value.hint
        path.with_name("claim-000002").touch()
        with pytest.raises(Disagreement, match="taken over by another machine"):
            held.check()
        path.with_name("claim-000002").unlink()
        path.write_text("somebody else's")
        with pytest.raises(Disagreement, match="taken over"):
            held.check()
    assert path.read_text() == "somebody else's"


def test_of_many_that_begin_at_once_one_works(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    line, done = threading.Barrier(8), threading.Event()

    def begin(_: int) -> str:
        line.wait()
        try:
            with claim.held(folder, lambda _: None) as held:
                done.wait(5)
                held.check()
                return "worked"
        except LvpackError as error:
            return type(error).__name__

    for cut in (False, True):
        if cut:
            cut_off(folder)
        done.clear()
        with ThreadPoolExecutor(8) as pool:
            threading.Timer(1.5, done.set).start()
            results = sorted(pool.map(begin, range(8)))
        assert results == ["Refused"] * 7 + ["worked"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder, other = tmp_path / "journal", tmp_path / "other"
    folder.mkdir()
    other.write_text("precious")
    (folder / "claim-000001").symlink_to(other)
    with pytest.raises(Failed, match="cannot write the journal"), claim.held(folder, print):
        pass
    assert other.read_text() == "precious"


def test_a_share_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match="cannot write the journal"), claim.held(tmp_path / "file", print):
        pass


def test_a_folder_that_others_may_enter_is_closed_and_a_link_to_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(0o755)
    (tmp_path / "old/journal.json").touch()
    with claim.held(tmp_path / "old", print):
        assert (tmp_path / "old").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to("old")
    with pytest.raises(Failed, match="it is a link, not a folder"), claim.held(tmp_path / "link", print):
        pass


def test_a_fifo_in_the_place_of_a_claim_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "claim-000001")
    with pytest.raises(Failed, match="it is a FIFO, not a file"), claim.held(tmp_path, print):
        pass
