"""A later boot: whether a journal is of this disk and of this run; on recordings of the sample server."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import PROGRESS
from lvpack_agent.errors import Refused
from lvpack_agent.inplace.disk import heads
from lvpack_agent.inplace.procedure import make_procedure
from lvpack_agent.inplace.resume import is_as_left, is_of_this_run, refuse_renamed, resumed
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe.discover import Found
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.values import Settings
from tests.agent.builders.devices import device
from tests.agent.builders.journals import begun_journal
from tests.agent.builders.recordings import as_reported


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Iterator[Journal]:
    with begun_journal(blog, tmp_path) as journal:
        yield journal


def settings(*words: str) -> Settings:
    """Return the settings of an in-place backup with further words on its command line."""
    found = parse(["lvpack.action=backup", "lvpack.mode=inplace", "lvpack.target=nfs://server/share", *words])
    assert found
    return found


def found(blog: Path, disk: Path, vg: VolumeGroup) -> Found:
    """Return what is found of the sample server when its VG has these extents."""
    [recorded] = vgreport.parse((blog / "fullreport.json").read_text())
    return Found(disks=(device(disk),), kept=1, vgs=(as_reported(vg, recorded),))


def test_a_disk_with_another_name_is_known_by_what_was_done_to_it(begun: Journal) -> None:
    record = begun.record
    states = make_procedure(record.plan, record.unclean).states
    for done in range(len(states) - 1):
        changed = states[done] != states[0]
        assert is_as_left(states[done], record, done) == changed
        ahead = states[done + 1] != states[0]
        assert is_as_left(states[done + 1], record, done) == ahead, "done, and not yet written down"
    assert not is_as_left(states[0], record, 0), "as every clone is"


def test_a_disk_as_an_unfinished_run_left_its_own_is_refused(blog: Path, tmp_path: Path, begun: Journal) -> None:
    procedure = make_procedure(begun.record.plan, begun.record.unclean)
    packed = found(blog, tmp_path, procedure.states[procedure.packed_after])
    source = found(blog, tmp_path, begun.record.plan.source.vgs[0])
    begun.advance(done=procedure.packed_after)
    refuse_renamed(begun.folder, "own", source)
    with pytest.raises(Refused, match="as that left its own") as refused:
        refuse_renamed(begun.folder, "own", packed)
    assert "(WD 1), rename that folder to 'own'" in refused.value.hint
    (begun.folder / PROGRESS).write_text("{")
    refuse_renamed(begun.folder, "own", packed)  # what cannot be read does not tell


def test_what_was_decided_is_not_decided_again(begun: Journal) -> None:
    said: list[str] = []
    session = Session(action="backup", out=said.append)
    begun.advance(done=3)
    again = resumed(begun, settings("lvpack.name=other"), session)
    assert (again.name, again.plan, again.layout) == ("one", begun.record.plan, begun.folder / "layout")
    assert said[0].startswith("resume: the in-place run of now (VG vg1, U-1): 3 steps are done; its plan holds")
    assert session.warnings == ["the image set's name is one, as this run began; lvpack.name is not used"]


def test_a_version_that_would_take_other_steps_does_not_go_on(begun: Journal) -> None:
    begun.record = replace(begun.record, steps=begun.record.steps[:-1])
    with pytest.raises(Refused, match=r"lvpack 0\.0\.1 began it, its steps are not those of this version"):
        resumed(begun, settings(), Session(action="backup", out=print))


@pytest.mark.starts_processes
def test_a_finished_run_is_over_until_its_disk_is_used_or_another_set_is_wanted(
    blog: Path, tmp_path: Path, begun: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # blockdev(8) flushes devices only, and a file stands for the disk.
    fake = tmp_path / "bin/blockdev"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    disk, share = tmp_path / "disk", begun.folder.parent
    source, target = (layout.vgs[0] for layout in (begun.record.plan.source, begun.record.plan.target))
    with disk.open("wb") as file:
        file.truncate(begun.record.plan.source.disks[0].size)
    procedure = make_procedure(begun.record.plan, begun.record.unclean)
    for done, now, other in (
        (procedure.packed_after, target, source),
        (len(procedure.steps), source, target),
    ):
        final = begun.record.plan.target if now is target else begun.record.plan.source
        begun.advance(done=done, finished="then", heads=heads(str(disk), final))
        here = found(blog, disk, now)
        assert is_of_this_run(begun, here, settings("lvpack.dump=no"), share)
        assert not is_of_this_run(begun, here, settings(), share), "there is no image set"
        (share / "one").mkdir(exist_ok=True)
        assert is_of_this_run(begun, here, settings(), share)
        assert is_of_this_run(begun, here, settings("lvpack.name=one"), share)
        assert not is_of_this_run(begun, here, settings("lvpack.name=two"), share)
        assert not is_of_this_run(begun, found(blog, disk, other), settings(), share)
        with disk.open("r+b") as file:
            file.seek(final.disks[0].rows[0].start + 1024)
            file.write(b"mounted")
        assert not is_of_this_run(begun, here, settings(), share)
        with disk.open("r+b") as file:
            file.seek(final.disks[0].rows[0].start + 1024)
            file.write(bytes(7))
        (share / "one").rmdir()
