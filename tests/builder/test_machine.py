import os
import re
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.report import Report, Sizes, Timings, parse_result
from lvpack_builder.boot import menus
from lvpack_builder.image import mirror
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab.console import running
from lvpack_builder.lab.nfs import Share
from lvpack_builder.lab.nics import Nic, Uplink
from lvpack_builder.lab.qemu import MAC, TCG, Drive, Machine, guest_runs
from lvpack_builder.lab.runs import shared_arguments

SHARE = Share(folder=Path("/x"), url="nfs://10.0.2.2:1/export", port=1)


def test_names_on_the_share_become_urls() -> None:
    words = shared_arguments(["lvpack.action=restore", "lvpack.source=one"], SHARE)
    assert words == [
        "lvpack.action=restore",
        "lvpack.source=nfs://10.0.2.2:1/export/one",
        "lvpack.target=nfs://10.0.2.2:1/export",
        "lvpack.onerror=poweroff",
    ]
    assert shared_arguments(["lvpack.onerror=shell"], None) == ["lvpack.onerror=shell"]


def test_a_drive_may_have_sectors_that_fail() -> None:
    words = Drive(path=Path("a"), unreadable=(7, 9), unwritable=(3,)).options().split(",")
    assert "file.driver=blkdebug" in words and "file.image.filename=a" in words
    faults = [f"file.inject-error.{n}" for n in range(3)]
    assert [f"{fault}.sector={sector}" in words for fault, sector in zip(faults, (7, 9, 3), strict=True)] == [True] * 3
    assert f"{faults[1]}.iotype=read" in words and f"{faults[2]}.iotype=write" in words


def test_command_line_escapes_what_qemu_and_the_kernel_split() -> None:
    machine = Machine(
        drives=(Drive(path=Path("a,b"), temporary=True),), kernel=Path("k"), arguments=("lvpack.disk=a b",)
    )
    words = machine.command(TCG)
    drive = next(w for w in words if w.startswith("file=a,,b,format=raw"))
    assert "snapshot=on" in drive.split(",")
    assert 'lvpack.disk="a b"' in words[words.index("-append") + 1]
    assert "mitigations=off" in words[words.index("-append") + 1]
    assert "mitigations=off" not in " ".join(machine.command("kvm"))


@pytest.mark.starts_processes
def test_a_transcript_begins_with_a_command_that_a_shell_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "qemu-system-x86_64"
    fake.write_text("#!/bin/sh\necho it runs\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine = Machine(kernel=Path("k"), arguments=("lvpack.disk=a b", "lvpack.name='"))
    with running(machine, TCG, tmp_path / "log", note="why it booted") as console:
        console.wait(60)
    note, first, *rest = (tmp_path / "log").read_text().splitlines()
    assert note == "# why it booted" and "it runs" in rest
    mark, _, *words = shlex.split(first)
    assert (mark, words) == ("#", machine.command(TCG))


def test_a_drive_may_have_sectors_of_4_kib() -> None:
    words = Machine(drives=(Drive(path=Path("a")), Drive(path=Path("b"), sector_size=4096))).command(TCG)
    small, large = (w for w in words if w.startswith("virtio-blk-pci"))
    assert "block_size" not in small
    assert large.endswith(",logical_block_size=4096,physical_block_size=4096")


def test_result_line_survives() -> None:
    report = Report(
        status="ok",
        action="plan",
        message="planned: é",
        sizes=Sizes(image=1),
        timings=Timings(read_back=2.5),
        warnings=("w",),
    )
    assert parse_result("[ 1.0] kernel " + report.line()) == report
    with pytest.raises(ValueError):
        parse_result("nothing")


def test_menu_has_four_entries_and_the_plan_overrides() -> None:
    for template in ("grub.cfg.j2", "pxelinux.cfg.j2", "lvpack.ipxe.j2"):
        words = ["lvpack.target=nfs://h/x", "lvpack.action=backup"]
        text = menus.render(template, words, folder="", suffix="", by_host=True)
        lines = re.findall(r".* gpt .*", text)
        assert len(lines) == 4
        assert "console=tty0 console=ttyS0,115200" in lines[0]
        assert "lvpack.action=backup lvpack.action=plan lvpack.after=shell" in lines[1]
        assert "lvpack." not in lines[2]


@pytest.mark.parametrize(
    ("words", "in_entries"),
    [
        ([], []),
        (["lvpack.onerror=poweroff", "lvpack.target=nfs://h/x"], [0, 1]),
        (["lvpack.onerror=reboot", "lvpack.onerror=shell"], []),
        (["lvpack.onerror=reboot", "lvpack.mode=inplace"], []),
        (["lvpack.onerror=reboot", "lvpack.action=restore"], []),
    ],
)
def test_a_kernel_that_panics_starts_again_where_nobody_looks_and_no_disk_is_half_done(
    words: list[str], in_entries: list[int]
) -> None:
    found = [n for n, entry in enumerate(menus.entries(words)) if "panic=60" in entry.arguments]
    assert found == in_entries
    if found:  # somebody's own word comes later, and counts
        entry = menus.entries([*words, "panic=5"])[0]
        assert entry.arguments.index("panic=60") < entry.arguments.index("panic=5")


def test_menus_are_on_the_serial_port_that_the_kernel_is_told_to_use() -> None:
    assert menus.serial([]) == menus.Serial(unit=0, speed=115200)
    words = ["console=tty0", "console=ttyS1,57600n8", "lvpack.disk=a b"]
    assert menus.serial(words) == menus.Serial(unit=1, speed=57600)
    assert menus.serial(["console=tty0"]) is None
    grub = menus.render("grub.cfg.j2", words, folder="", suffix="")
    assert "serial --unit=1 --speed=57600" in grub
    assert "ttyS0" not in grub
    assert "'lvpack.disk=a b'" in grub
    assert 'lvpack.disk="a b"' in menus.render("pxelinux.cfg.j2", words)
    assert "serial" not in menus.render("grub.cfg.j2", ["console=tty0"], folder="", suffix="").lower()


def test_mirrors_come_from_apt() -> None:
    text = "http://m/debian bookworm\nhttp://m/debian-security bookworm-security\nhttp://other/x nodistro\n"
    assert mirror.parse(text) == mirror.Mirrors(main="http://m/debian", security="http://m/debian-security")
    with pytest.raises(Refused):
        mirror.parse("http://other/x nodistro\n")


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("does", "proven"),
    [
        ('for word; do last=$word; done; echo "sum-$(($(echo "$*" | sed "s/.*((\\([0-9]*\\)+1.*/\\1/") + 1))"', True),
        ("sleep 60", False),
        ("echo sum-1", False),
        ("exit 1", False),
    ],
)
def test_kvm_must_be_seen_to_work(does: str, proven: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "qemu-system-x86_64"
    fake.write_text(f"#!/bin/sh\n{does}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert guest_runs(LiveImage(folder=tmp_path), "kvm", deadline=2) is proven


def test_network_cards_replace_the_usual_one() -> None:
    cards = (Nic(netdev="hubport,hubid=3", mac="52:54:00:00:00:0a"), Uplink(hub=3, netdev="user"))
    command = Machine(nics=cards, monitor=Path("/tmp/q")).command("tcg")
    netdevs = [value for word, value in pairwise(command) if word == "-netdev"]
    assert netdevs == ["hubport,hubid=3,id=net0", "user,id=net1", "hubport,id=port1,hubid=3,netdev=net1"]
    assert [word for word in command if word.startswith("virtio-net")] == [
        "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:0a,romfile="
    ]
    assert command[command.index("-qmp") + 1] == "unix:/tmp/q,server=on,wait=off"


def test_only_a_bios_netboots_by_the_cards_rom() -> None:
    machine = Machine(kit=Path("/kit"), boot_file="loader")
    for one, end in ((machine, ",bootindex=0"), (replace(machine, nvram=Path("/nvram")), ",bootindex=0,romfile=")):
        command = one.command("tcg")
        assert "user,tftp=/kit,bootfile=loader,id=net0" in command
        [card] = [word for word in command if word.startswith("virtio-net")]
        assert card.endswith(MAC + end)


def test_the_port_for_results_comes_after_what_has_its_slot() -> None:
    machine = Machine(reports=True, drives=(Drive(path=Path("a")),))
    for forks in (False, True):
        command = replace(machine, forks=forks).command(TCG, Path("/a,b"))
        assert "file,id=result,path=/a,,b" in command
        devices = [value.partition(",")[0] for word, value in pairwise(command) if word == "-device"]
        assert devices.index("virtio-net-pci") < devices.index("virtio-serial-pci") < devices.index("virtserialport")
        assert (devices.index("virtio-blk-pci") > devices.index("virtserialport")) is forks
    assert "virtserialport" not in " ".join(replace(machine, reports=False).command(TCG))
