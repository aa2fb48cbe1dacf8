import os
from collections import namedtuple
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.sizes import GIB
from lvpack_builder.boot.loaders import PACKAGES
from lvpack_builder.image import build

Usage = namedtuple("Usage", ("total", "used", "free"))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, alone on PATH, with all programs that a build needs; they do nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in build.TOOLS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    files = {tmp_path / file.name: package for file, package in PACKAGES.items()}
    for file in files:
        file.touch()
    monkeypatch.setattr(build, "PACKAGES", files)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("LVPACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(9 * GIB, 0, 9 * GIB))
    return folder


@pytest.mark.starts_processes
def test_a_machine_that_has_all_is_fit(tools: Path, tmp_path: Path) -> None:
    build.check_host(tmp_path / "not/yet/out")


def test_without_root_nothing_starts(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="needs root"):
        build.check_host(tmp_path / "out")


def test_what_is_missing_is_named_with_its_package(tools: Path, tmp_path: Path) -> None:
    (tools / "mksquashfs").unlink()
    (tmp_path / "lpxelinux.0").unlink()
    with pytest.raises(Refused, match=r"lacks mksquashfs, .*/lpxelinux\.0$") as refused:
        build.check_host(tmp_path / "out")
    assert refused.value.hint == "apt-get install pxelinux squashfs-tools"


@pytest.mark.starts_processes
def test_root_that_may_not_mount_is_refused(tools: Path, tmp_path: Path) -> None:
    # What unshare(1) says in a container without CAP_SYS_ADMIN.
    said = "unshare: unshare failed: Operation not permitted"
    (tools / "unshare").write_text(f"#!/bin/sh\necho {said} >&2\nexit 1\n")
    with pytest.raises(Refused, match=said) as refused:
        build.check_host(tmp_path / "out")
    assert "CAP_SYS_ADMIN" in refused.value.hint


@pytest.mark.starts_processes
@pytest.mark.parametrize("full", ["cache", "."])
def test_a_full_disk_is_refused(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    small = (tmp_path / full).resolve()
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: Usage(9 * GIB, 0, (GIB // 2) if folder == small else 9 * GIB)
    )
    with pytest.raises(Refused, match=f"512 MiB free at '{small}'"):
        build.check_host(tmp_path / "out")


def test_bindep_has_every_package_that_a_build_asks_for() -> None:
    listed = {line.split(" ")[0] for line in (Path(__file__).parents[2] / "bindep.txt").read_text().splitlines()}
    assert {*build.TOOLS.values(), *PACKAGES.values()} <= listed
