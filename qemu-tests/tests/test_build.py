"""The build by itself: from an empty cache, as a user runs it, and what is left when it is stopped half way."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lab.runs import sha256
from lvpack_agent.errors import Failed
from lvpack_agent.processes import STDOUT, Process, run, spawn
from lvpack_agent.sizes import MIB
from lvpack_builder.boot.netboot import Host
from lvpack_builder.image import build as builder
from lvpack_builder.image.build import LiveImage
from lvpack_builder.image.outputs import write_sums
from lvpack_builder.lab.nfs import limited_folder

pytestmark = pytest.mark.timeout(3600)

LVPACK = Path(sys.executable).with_name("lvpack")
# The least that counts as a build.
EARLIER = json.dumps({"lvpack": "", "release": "", "kernel": "", "arguments": [], "sizes": {}, "packages": {}})


def start(cache: Path, out: Path, said: Path, *options: str, env: Mapping[str, str] | None = None) -> "Process[bytes]":
    """Start `lvpack build` with a cache of its own, its output to a file."""
    env = {"LVPACK_CACHE": str(cache), **(env or {})}
    with said.open("wb") as file:
        return spawn([LVPACK, "build", "-o", out, *options], stdout=file.fileno(), stderr=STDOUT, env=env)


def wait_for(log: Path, words: str, process: "Process[bytes]", seconds: float = 1200) -> None:
    deadline = time.monotonic() + seconds
    while not (log.exists() and words in log.read_text(errors="replace")):
        assert process.poll() is None, "the build ended early"
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)


def processes_with(text: str) -> list[str]:
    """Return the command lines, environments and working folders of processes that name a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            places = [str(entry / name) for name in ("cwd", "root")]
            known += [os.fsencode(Path(place).readlink()) for place in places]
        except OSError:
            continue  # it has just ended
        if entry.name != str(os.getpid()) and any(text.encode() in each for each in known):
            found.append(known[0].decode(errors="replace"))
    return found


def sums(folder: Path) -> dict[str, str]:
    """Return file → SHA-256 of all files below a folder."""
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_nothing_left(folder: Path, cache: Path) -> None:
    assert processes_with(str(cache)) == []
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["cache", "out"]
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["SHA256SUMS", "manifest.json"]
    assert (folder / "out/manifest.json").read_text() == EARLIER


def made(cache: Path) -> list[str]:
    """Return what is in the cache of what disk-image-create made and what was made of that."""
    return [p.name for kind in ("base-*", "whole-*") for p in cache.glob(kind)]


def earlier_build(folder: Path) -> tuple[Path, Path]:
    """Return a cache, which is not there yet, and the folder of an earlier build."""
    out = folder / "out"
    out.mkdir()
    (out / "manifest.json").write_text(EARLIER)
    write_sums(out)
    return folder / "cache", out


def test_two_images_from_one_base_are_the_same_bytes(image: LiveImage, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "elsewhere/two"
    for folder in (one, two):
        builder.build(folder, arguments=["lvpack.action=plan"], hosts=[Host(mac="52:54:00:12:34:56", arguments=())])
    assert sums(one) == sums(two)
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=one)
    manifest = json.loads((one / "manifest.json").read_text())
    assert manifest["source_date_epoch"] <= (one / "lvpack.iso").stat().st_mtime
    text = (one / manifest["sbom"]).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {c["name"]: c["version"] for c in json.loads(text)["components"]}
    assert components.items() >= manifest["packages"].items() and "shim-signed" in components


def test_a_hook_that_fails_is_quoted_and_leaves_nothing(tmp_path: Path) -> None:
    cache, out = earlier_build(tmp_path)
    hook = tmp_path / "elements/broken/root.d/00-break"
    hook.parent.mkdir(parents=True)
    hook.write_text('#!/bin/sh\nmount -t tmpfs broken "$TARGET_ROOT" && sleep 1000 & echo no luck today; exit 7\n')
    hook.chmod(0o755)
    said = tmp_path / "said"
    elements = {"ELEMENTS_PATH": str(hook.parent.parent.parent)}
    process = start(cache, out, said, "--element", "broken", env=elements)
    assert process.wait(300) == 1, said.read_text()
    assert "cannot build the live image: disk-image-create: " in said.read_text()
    assert "no luck today" in said.read_text()
    hook.parent.parent.parent.rename(cache / "elements")
    assert_nothing_left(tmp_path, cache)
    assert made(cache) == []


def test_a_disk_that_gets_full_leaves_nothing(
    image: LiveImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "OUTPUT_SPACE", 0)
    with limited_folder(tmp_path / "small", 40 * MIB) as folder:
        _, out = earlier_build(folder)
        with pytest.raises(Failed, match="No space left on device"):
            builder.build(out)
        assert [p.name for p in folder.iterdir()] == ["out"]
        assert (out / "manifest.json").read_text() == EARLIER


@pytest.mark.full
def test_two_builds_from_scratch_are_the_same_bytes(tmp_path: Path) -> None:
    """The second one, with the first one's package versions pinned, in a folder of another depth."""
    outs = []
    for name, options in (("one", []), ("deeper/two", ["--pin", str(tmp_path / "one/out/manifest.json")])):
        cache, out = tmp_path / name / "cache", tmp_path / name / "out"
        for left in ("base-0.partial", "whole-0.partial"):  # as a killed build leaves them
            (cache / left).mkdir(parents=True)
        process = start(cache, out, tmp_path / "said", *options)
        assert process.wait(1800) == 0, (tmp_path / "said").read_text()
        assert len(made(cache)) == 2, "what the killed build left is gone"
        outs.append(sums(out))
    assert outs[0] == outs[1]


@pytest.mark.full
def test_firmware_of_the_drivers_that_stay_is_in_the_image(tmp_path: Path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    process = start(cache, out, tmp_path / "said", "--firmware")
    assert process.wait(1800) == 0, (tmp_path / "said").read_text()
    [base] = cache.glob("base-*/00-base.squashfs")
    listed = run(["unsquashfs", "-ls", base]).stdout
    files = {line.partition("/usr/lib/firmware/")[2] for line in listed.splitlines()}
    # BCM5709 and 57810, QLogic 2500, Intel E810, Realtek 8168: by the kernel's WHENCE of linux-firmware.
    for name in ("bnx2/bnx2-mips-09-6.2.1b.fw", "ql2500_fw.bin", "rtl_nic/rtl8168g-3.fw"):
        assert name in files, sorted(files)
    assert "firmware-bnx2" in json.loads((out / "manifest.json").read_text())["packages"]


# The host's side of DIB, its chroot with /dev, /proc and /sys mounted, and a kill that nothing can catch.
@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "root.d/08-debootstrap"),
        (signal.SIGTERM, "in_target.d/pre-install.d"),
        (signal.SIGKILL, "in_target.d/pre-install.d"),
    ],
)
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, number: int, at: str) -> None:
    (cache, out), said = earlier_build(tmp_path), tmp_path / "said"
    process = start(cache, out, said)
    wait_for(cache / "disk-image-create.log", at, process)
    process.send_signal(number)
    assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 10
    while number == signal.SIGKILL and processes_with(str(cache)) and time.monotonic() < deadline:
        time.sleep(0.1)  # nobody is left to wait for them
    assert_nothing_left(tmp_path, cache)
    if number != signal.SIGKILL:
        assert said.read_text() == f"lvpack: interrupted by {signal.Signals(number).name}\n"
        assert made(cache) == []
