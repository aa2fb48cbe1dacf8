"""Shares of each scheme: each packs, verifies and restores; a server is waited for; what is wrong is named."""

import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.runs import Lab, assert_ended, log_left
from lab.sharing import Sharing, sharing
from lab.smb import NAME, PASSWORD, USER, smb_server
from lab.sshd import USER as SSHD_USER
from lab.sshd import sshd
from lab.swift import ACCESS, BUCKET, REGION, SECRET, swift
from lab.web import PASSWORD as WEB_PASSWORD
from lab.web import USER as WEB_USER
from lab.web import web
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, MIB
from lvpack_builder.image.secrets import write_archive
from lvpack_builder.lab.console import running
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, limited_folder
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.reproducible import dated

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(1800)]

full = pytest.mark.full
BACKUP = ("lvpack.action=backup", "lvpack.name=one", "lvpack.disk=/dev/vda")
RESTORE = ("lvpack.action=restore", "lvpack.disk=/dev/vdb")
AS_USER = f"lvpack.share=user={USER}"
OUT, BACK = "does not answer; the run waits for it, ", "answers again after"


def round_trip(guest: Sharing, url: str, *words: str, **secrets: str) -> None:
    """Pack the guest's disk to a share, verify the set, plan its restore, restore it, and compare."""
    report = guest.run(*BACKUP, f"lvpack.target={url}", *words, **secrets)
    assert report.status == "ok", report
    assert all("left out" in warning for warning in report.warnings), report
    report = guest.run("lvpack.action=verify", f"lvpack.source={url}/one", *words, **secrets)
    assert report.status == "ok", report
    report = guest.run("lvpack.action=plan", "lvpack.disk=/dev/vdb", f"lvpack.source={url}/one", *words, **secrets)
    assert (report.status, report.message) == ("ok", "planned: image set one can be restored to /dev/vdb"), report
    report = guest.run(*RESTORE, f"lvpack.source={url}/one", *words, **secrets)
    assert report.status == "ok", report
    guest.compare()
    assert guest.must("grep -c /run/lvpack /proc/mounts || true").strip() == "0", "nothing stays mounted"


def test_backup_verify_and_restore_by_smb(lab: Lab) -> None:
    with smb_server(lab.share) as server, sharing(lab) as guest:
        round_trip(guest, server.share.url, AS_USER, smb=PASSWORD)
        # What the kernel and the server say of it: SMB 3.1.1 with signatures.
        (lab.share / "sealed").mkdir()
        guest.begin(*BACKUP, f"lvpack.target={server.share.url}/sealed", f"{AS_USER},seal", smb=PASSWORD)
        guest.console.expect("mounted by SMB 3, encrypted", 60)
        assert guest.console.result(300).status == "ok"
        assert_shows_nothing(guest)
    assert sorted(path.name for path in lab.share.iterdir()) == ["one", "sealed"]


def assert_shows_nothing(guest: Sharing) -> None:
    """The password is in no file of the guest's memory, on no console, in no program, and not on the share."""
    # The brackets keep the pattern from being found in what looks for it.
    pattern = shlex.quote(PASSWORD.replace("S", "[S]"))
    where = "/run /root /tmp /etc /var /lvpack-secrets $(ls -d /proc/[0-9]*/cmdline /proc/[0-9]*/environ)"
    assert guest.must(f"grep -ral -e {pattern} {where} 2> /dev/null || true").strip() == ""
    assert guest.must("ls -d /lvpack-secrets || true").strip().endswith("No such file or directory")
    assert PASSWORD not in (guest.lab.folder / "console.log").read_text(errors="replace")
    for path in guest.lab.share.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes()


def test_what_a_server_of_smb_refuses_is_named(lab: Lab) -> None:
    with (
        limited_folder(lab.folder / "small", 8 * MIB) as folder,
        smb_server(folder) as server,
        sharing(lab) as guest,
    ):
        url = server.share.url
        report = guest.run(*BACKUP, f"lvpack.target={url}", AS_USER, smb="wrong")
        assert_ended(report, "failed", f"mount share '{url}'", "Permission denied")
        assert "secret smb" in report.hint
        report = guest.run(*BACKUP, f"lvpack.target={url}", AS_USER)
        assert_ended(report, "refused", "secret 'smb'", "nowhere")
        report = guest.run(*BACKUP, f"lvpack.target={url}/not-there", AS_USER, smb=PASSWORD)
        assert_ended(report, "failed", "mount share", "No such file or directory")
        report = guest.run(*BACKUP, f"lvpack.target={url.replace(NAME, 'other')}", AS_USER, smb=PASSWORD)
        assert_ended(report, "failed", "mount share", "/other'")
        report = guest.run(*BACKUP, f"lvpack.target={url}", AS_USER, smb=PASSWORD)
        assert_ended(report, "failed", "'one", "No space left on device")
        assert any("may not fit: share 'smb://" in warning for warning in report.warnings), report
        assert [path.name for path in folder.iterdir()] == ["one.failed.log"]
        (folder / "one").mkdir()
        report = guest.run(*BACKUP, f"lvpack.target={url}", AS_USER, smb=PASSWORD)
        assert_ended(report, "refused", "'one'", "exists on the share")


def test_secrets_by_an_initrd_and_by_the_firmware(lab: Lab) -> None:
    """As a boot loader loads it after initrd.img, and as a hypervisor hands it over."""
    disk, password = create_disk(lab.folder / "disk.img", 64 * MIB), lab.folder / "password"
    password.write_text(f"{PASSWORD}\n")
    archive = lab.folder / "secrets.img"
    with dated(0):
        write_archive({"smb": PASSWORD.encode()}, archive)
    both = lab.folder / "both.img"
    both.write_bytes(lab.image.initrd.read_bytes() + bytes(-lab.image.initrd.stat().st_size % 4) + archive.read_bytes())
    with smb_server(lab.share) as server:
        words = (*BACKUP, f"lvpack.target={server.share.url}", AS_USER, "lvpack.onerror=shell")
        ways: tuple[tuple[str, dict[str, Any]], ...] = (
            ("the initrd", {"initrd": both}),
            ("QEMU's fw_cfg", {"secrets": (("smb", password),)}),
        )
        for place, how in ways:
            machine = replace(live(lab.image, words, drives=(Drive(path=disk),)), **how)
            with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
                console.expect(f"secret smb: by {place}", 300)
                assert_ended(console.result(300), "refused", "no VG")
                console.expect("then: shell", 60)
                guest = Sharing(console=console, lab=lab, sum="")
                guest.must("stty -echo")
                assert_shows_nothing(guest)


@full
def test_backup_verify_and_restore_by_sftp(lab: Lab) -> None:
    with sshd() as server, sharing(lab) as guest:
        url = f"sftp://{SSHD_USER}@{HOST_FROM_GUEST}:{server.port}/sets"
        keys = {"ssh_key": server.key.decode(), "known_hosts": server.known_hosts(HOST_FROM_GUEST).decode()}
        report = guest.run(*BACKUP, f"lvpack.target={url}", ssh_key=keys["ssh_key"])
        assert_ended(report, "refused", "secret 'known-hosts'")
        round_trip(guest, url, **keys)
        report = guest.run(*BACKUP, f"lvpack.target={url}", "lvpack.mode=inplace", **keys)
        assert_ended(report, "refused", "in place", "sftp://")


@full
@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_backup_verify_and_restore_by_https(lab: Lab, kind: str) -> None:
    with web(kind) as server, sharing(lab) as guest:
        url = f"https://{HOST_FROM_GUEST}:{server.port}/sets"
        round_trip(guest, url, ca=server.ca.decode(), http=f"{WEB_USER}:{WEB_PASSWORD}")


@full
def test_backup_verify_and_restore_by_s3(lab: Lab) -> None:
    with swift() as server, sharing(lab) as guest:
        server.make_bucket()
        options = f"lvpack.share=endpoint=http://{HOST_FROM_GUEST}:{server.port},region={REGION},path-style"
        round_trip(guest, f"s3://{BUCKET}/some/where", options, s3=f"{ACCESS}:{SECRET}")


@full
def test_a_clock_before_the_date_of_the_image_is_set_by_a_server(lab: Lab) -> None:
    with web("nginx", password=False) as server, sharing(lab) as guest:
        guest.must("date -u -s '2001-01-01 00:00:00'")
        target = f"lvpack.target=https://{HOST_FROM_GUEST}:{server.port}/sets"
        report = guest.run(*BACKUP, target, ca=server.ca.decode())
        assert report.status == "ok", report
        assert any("said 2001-01-01 00:0" in warning and "it was set to" in warning for warning in report.warnings)
        assert guest.must("date -u +%Y").strip() != "2001"


@full
def test_a_rate_is_kept(lab: Lab) -> None:
    with smb_server(lab.share) as server, sharing(lab, size=96, filled=60) as guest:
        words = (f"lvpack.target={server.share.url}", AS_USER, "lvpack.compress=none", "lvpack.rate=4M")
        report = guest.run(*BACKUP, *words, smb=PASSWORD)
        assert report.status == "ok", report
        seconds = report.sizes.image / (4 * MIB)
        for phase in (report.timings.dump, report.timings.read_back):
            assert 0.95 * seconds - 1 <= phase <= 1.2 * seconds + 5, report


@full
def test_a_share_by_smb_that_nobody_may_write(lab: Lab) -> None:
    with smb_server(lab.share, read_only=True) as server, sharing(lab) as guest:
        report = guest.run(*BACKUP, f"lvpack.target={server.share.url}", AS_USER, smb=PASSWORD)
        assert_ended(report, "failed", "write to the share", "Permission denied")


@full
@pytest.mark.parametrize("how", ["stall", "restart"])
def test_a_server_of_smb_that_is_away_is_waited_for(lab: Lab, how: str) -> None:
    with smb_server(lab.share) as server, sharing(lab, size=96, filled=60) as guest:

        def interrupt() -> None:
            if how == "stall":
                server.signal(signal.SIGSTOP)
            else:
                server.kill()
            guest.console.expect(OUT, 90)
            if how == "stall":
                server.signal(signal.SIGCONT)
            else:
                server.start()
            guest.console.expect(BACK, 200)

        target = f"lvpack.target={server.share.url}"
        guest.begin(*BACKUP, target, AS_USER, "lvpack.compress=none", smb=PASSWORD)
        for phase in ("dump", "read back"):
            guest.console.expect(f"== {phase}", 180)
            interrupt()
        report = guest.console.result(600)
        assert report.status == "ok", report
        guest.begin(*RESTORE, f"lvpack.source={server.share.url}/one", AS_USER, smb=PASSWORD)
        guest.console.expect("== write", 180)
        interrupt()
        report = guest.console.result(600)
        assert report.status == "ok", report
        guest.compare()


@full
@pytest.mark.parametrize("how", ["stall", "kill"])
def test_a_server_of_smb_that_stays_away_ends_the_run(lab: Lab, how: str) -> None:
    with smb_server(lab.share) as server, sharing(lab, size=96, filled=60) as guest:
        words = (f"lvpack.target={server.share.url}", AS_USER, "lvpack.compress=none", "lvpack.patience=15s")
        guest.begin(*BACKUP, *words, smb=PASSWORD)
        guest.console.expect("== dump", 180)
        if how == "stall":
            server.signal(signal.SIGSTOP)
        else:
            server.kill()
        report = guest.console.result(300)
        assert_ended(report, "failed", "cannot reach share", "did not answer for 15 s")
        assert guest.must("grep -c lvpack/share /proc/mounts || true", 60).strip() == "0"
        assert guest.must("dmsetup ls", 60).strip() == "No devices found"


def stick(lab: Lab, kind: str, label: str, name: str = "", size: int = 256 * MIB) -> Path:
    """Make a stick without a partition table, with a folder sets/ if it is FAT."""
    path = create_disk(lab.folder / f"{name or label}.img", size)
    flag = "-n" if kind == "vfat" else "-L"
    run([f"mkfs.{kind}", *(["-F", "32"] if kind == "vfat" else ["-q"]), flag, label, path])
    if kind == "vfat":
        run(["mmd", "-i", path, "::sets"])
    return path


def test_backup_verify_and_restore_by_a_stick(lab: Lab) -> None:
    fat, other = stick(lab, "vfat", "STICK"), stick(lab, "ext4", "STICK", "other")
    with sharing(lab, [fat]) as guest:
        round_trip(guest, "file://STICK/sets")
        report = guest.run(*BACKUP, "lvpack.mode=inplace", "lvpack.target=file://STICK/sets")
        assert_ended(report, "refused", "in place", "FAT")
        report = guest.run(*BACKUP, "lvpack.target=file://STICK/not-there")
        assert_ended(report, "failed", "no folder 'not-there'")
    said = run(["mdir", "-i", fat, "-b", "::sets/one"]).stdout
    assert "manifest.json" in said and "disk.img.zst" in said
    with sharing(Lab(image=lab.image, folder=folder(lab, "two"), share=lab.share), [fat, other]) as guest:
        report = guest.run(*BACKUP, "lvpack.target=file://STICK/sets")
        assert_ended(report, "refused", "/dev/vdc and /dev/vdd", "are called so")
        report = guest.run(*BACKUP, "lvpack.target=file://stick/sets")
        assert_ended(report, "refused", "no disk or partition has 'stick'")


def folder(lab: Lab, name: str) -> Path:
    path = lab.folder / name
    path.mkdir()
    return path


@full
def test_a_share_is_never_on_a_disk_that_is_packed_or_restored_to(lab: Lab) -> None:
    """A disk with a PV and a filesystem beside it; a stick that is named as a target; the stick with secrets."""
    both, keys = create_disk(lab.folder / "both.img", 256 * MIB), stick(lab, "vfat", "LVPACK", "keys")
    with sharing(lab, [stick(lab, "ext4", "DATA"), both, keys]) as guest:
        guest.must(
            "printf 'size=64M\\nsize=64M,type=8e\\n' | sfdisk -q -X dos /dev/vdd && udevadm settle && "
            "mkfs.ext4 -q -L BESIDE /dev/vdd1 && vgcreate -q other /dev/vdd2 && udevadm settle"
        )
        before = guest.must("sha256sum /dev/vdd")
        report = guest.run(*BACKUP, "lvpack.target=file://BESIDE")
        assert_ended(report, "refused", "file://BESIDE", "/dev/vdd2 on it is a PV")
        assert guest.must("sha256sum /dev/vdd") == before
        report = guest.run(*BACKUP, "lvpack.target=file://DATA")
        assert report.status == "ok", report
        assert not any("/dev/vde" in warning for warning in report.warnings), report
        report = guest.run("lvpack.action=restore", "lvpack.source=file://DATA/one", "lvpack.disk=/dev/vdc")
        assert_ended(report, "refused", "file://DATA", "lvpack.disk= names it")
        guest.must("wipefs -q -a /dev/vda /dev/vdd && udevadm settle")
        for action in ("restore", "plan"):
            report = guest.run(f"lvpack.action={action}", "lvpack.source=file://DATA/one", "lvpack.overwrite=yes")
            assert_ended(report, "refused", "there are 3")  # neither of the sticks


@full
def test_in_place_mode_by_a_disk_of_this_machine(lab: Lab) -> None:
    data, small = stick(lab, "ext4", "DATA"), stick(lab, "ext4", "SMALL", size=16 * MIB)
    with sharing(lab, [data, small]) as guest:
        before = guest.must("sha256sum /dev/vda")
        report = guest.run(*BACKUP, "lvpack.mode=inplace", "lvpack.target=file://SMALL", "lvpack.compress=none")
        assert_ended(report, "refused", "file://SMALL", "its images take", "there is room for")
        assert guest.must("sha256sum /dev/vda") == before
        words = ("lvpack.mode=inplace", "lvpack.target=file://DATA")
        report = guest.run(*BACKUP, *words)
        assert report.status == "ok", report
        assert guest.run(*RESTORE, "lvpack.source=file://DATA/one").status == "ok"
        guest.compare()


@full
def test_a_file_that_fat_cannot_have_is_refused_before_it_is_written(lab: Lab) -> None:
    with sharing(lab, [stick(lab, "vfat", "STICK"), create_disk(lab.folder / "large.img", 6 * GIB)]) as guest:
        guest.must("vgcreate -q large /dev/vdd && lvcreate -q -y -W n -n data -L 5g large && vgchange -q -a n large")
        report = guest.run(
            "lvpack.action=backup", "lvpack.disk=/dev/vdd", "lvpack.name=one", "lvpack.target=file://STICK"
        )
        assert_ended(report, "refused", "file://STICK", "at most 4.00 GiB")
        assert log_left is not None
