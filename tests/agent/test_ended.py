"""What does without a thing that fails does not go on when the run was told to end."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from lvpack_agent.backup import badsectors
from lvpack_agent.errors import Ended, Failed
from lvpack_agent.filesystems import free, owners
from lvpack_agent.image import sums
from lvpack_agent.inplace import catch_up
from lvpack_agent.layout.content import Content
from lvpack_agent.lvm import pvlabel
from lvpack_agent.overlay import pack
from lvpack_agent.restore import esp
from lvpack_agent.session import Session
from lvpack_agent.shares import mounted
from lvpack_agent.shares.share import Mount
from lvpack_agent.shares.url import parse_url
from lvpack_agent.undo import Undo
from tests.agent.builders.shares import access


def end(*_: object, **__: object) -> NoReturn:
    raise Ended("told to end")


def free_ranges(_: Path) -> None:
    free.free_ranges("/dev/none", "xfs")


def replay(_: Path) -> None:
    free.replay("/dev/none", "xfs", Path("/none"))


def owners_of_blocks(folder: Path) -> None:
    owners.owners("/dev/none", Content(type="ext4", size=1, block_size=1), [1], folder)


def sums_of_files(folder: Path) -> None:
    sums.changed(folder, {"agent.log": ""}, (), print)


def metadata(_: Path) -> None:
    catch_up._mend_metadata(SimpleNamespace(), SimpleNamespace(pv="/dev/none"))  # type: ignore[arg-type]


def boot_loader(_: Path) -> None:
    with esp._or_warn(Session(action="restore", out=print), "cannot copy"):
        end()


@pytest.mark.parametrize(
    ("module", "name", "act"),
    [
        (free, "_unmappable", free_ranges),
        (free, "_unmappable", replay),
        (owners, "_of_ext", owners_of_blocks),
        (sums, "sha256_of_stored", sums_of_files),
        (pvlabel, "check", metadata),
        (esp, "known", boot_loader),
    ],
)
def test_it_ends(
    module: object, name: str, act: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, end)
    with pytest.raises(Ended):
        act(tmp_path)


@pytest.mark.parametrize("while_cleaning_up", [False, True])
def test_a_run_that_skips_bad_sectors_does_not_begin_anew(
    while_cleaning_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[object] = []

    def packs(_: object, undo: Undo, *rest: object) -> NoReturn:
        attempts.append(rest)
        if not while_cleaning_up:
            end()
        undo.callback(end)
        raise Failed("cannot read")

    monkeypatch.setattr(pack, "_pack", packs)
    monkeypatch.setattr(badsectors.Holes, "widen", lambda *_: True)
    session = Session(action="backup", out=print, is_ending=lambda: True)
    job: Any = SimpleNamespace(session=session, settings=SimpleNamespace(errors="skip"))
    with pytest.raises((Ended, Failed)):
        pack.pack_in_overlay(job)
    assert len(attempts) == 1


def test_a_share_that_was_given_up_by_it_is_not_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class GivenUp(AbstractContextManager[Any]):
        is_given_up = True

        def failure(self) -> Failed:
            return Failed("cannot reach share")

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    for name in ("_reach", "run"):
        monkeypatch.setattr(mounted, name, lambda *_, **__: None)
    monkeypatch.setitem(mounted.MOUNTS, "nfs", lambda *_: Mount(how="NFS 4.1"))
    monkeypatch.setattr(mounted, "Watch", lambda *_: GivenUp())
    network: Any = SimpleNamespace(up=print)
    session = Session(action="backup", out=print)
    url = parse_url("nfs://h/e")
    with (
        pytest.raises(Ended, match="told to end; cannot reach share"),
        mounted.mounted(url, tmp_path, network, session, access(patience=9)),
    ):
        end()
