"""The sample server there and back by each way of booting.

test_main_job.py has three of them: the ISO by UEFI and by BIOS, and the network by BIOS.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.runs import Lab, assert_ended, fingerprint
from lab.wire import ADDRESS, INTERFACE, boot_server, wire
from lvpack_agent.image import check
from lvpack_agent.report import Report
from lvpack_agent.sizes import MIB
from lvpack_builder.boot.loaders import GRUB_CD
from lvpack_builder.boot.netboot import BOOT_FILES, IPXE_SCRIPT, Host
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.console import running
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.nics import Nic
from lvpack_builder.lab.qemu import MAC, Drive, Machine, accelerator, create_disk, guest_arguments
from lvpack_builder.lab.runs import copied_kit, shared_arguments
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.lab.uefi import new_nvram

pytestmark = [pytest.mark.full, pytest.mark.timeout(2400)]

FIRMWARE = {
    "bios": "firmware: BIOS",
    "uefi": "firmware: UEFI, Secure Boot disabled",
    "secure": "firmware: UEFI, Secure Boot enabled",
}


@pytest.mark.parametrize(
    ("firmware", "boot"),
    [
        pytest.param("bios", "iso"),
        pytest.param("bios", "usb"),
        pytest.param("uefi", "usb"),
        pytest.param("secure", "iso"),
        pytest.param("secure", "pxe"),
    ],
)
def test_there_and_back(
    image: LiveImage, lab: Lab, source: Path, source_fingerprint: str, before: Inventory, firmware: str, boot: str
) -> None:
    def pack(disk: Path, *words: str) -> Report:
        return lab.run([Drive(path=disk)], *words, firmware=firmware, boot=boot)

    there_and_back(image, lab, source, before, FIRMWARE[firmware], pack)
    assert fingerprint(source) == source_fingerprint


@pytest.mark.parametrize(
    ("firmware", "also", "fetched"),
    [
        # QEMU's BIOS has iPXE, which gets the script by HTTP.
        ("bios", "", "GET /vmlinuz"),
        # UEFI asks by PXE first and gets GRUB; where nobody answers that, it asks by HTTP.
        ("uefi", "", "/grub/lvpack.cfg"),
        ("secure", "dhcp-ignore=tag:efi,tag:!http\n", "GET /lvpack.iso"),
    ],
)
def test_there_and_back_from_a_real_boot_server(
    image: LiveImage, lab: Lab, source: Path, before: Inventory, firmware: str, also: str, fetched: str
) -> None:
    netdev = f"tap,ifname={INTERFACE},script=no,downscript=no"
    nic = Nic(netdev=netdev, mac=MAC, boots=True, rom=firmware == "bios")
    secure = firmware == "secure"

    def pack(disk: Path, *words: str) -> Report:
        with nfs_share(lab.share, address=ADDRESS) as share:
            arguments = (*guest_arguments(accelerator(image)), *shared_arguments(words, share))
            kit = copied_kit(image, arguments, lab.folder / f"kit-{words[0]}")
            with boot_server(kit, lab.folder / "boot-server.log", also):
                nvram = new_nvram(lab.folder / "nvram", secure=secure) if firmware != "bios" else None
                machine = Machine(drives=(Drive(path=disk),), nics=(nic,), nvram=nvram, secure=secure)
                with running(machine, accelerator(image), lab.folder / "console.log") as console:
                    report = console.result(1500)
                    console.wait(120)
                    return report

    with wire():
        there_and_back(image, lab, source, before, FIRMWARE[firmware], pack)
    served = (lab.folder / "boot-server.log").read_text()
    asked = {words for words in ("GET /vmlinuz", "/grub/lvpack.cfg", "GET /lvpack.iso") if words in served}
    assert asked == {fetched}, served


def test_network_first_but_the_disk_is_next(image: LiveImage, lab: Lab) -> None:
    """A UEFI machine that boots from the network first, and again after a run, boots its disk then."""
    disk = sparse_copy(make_sample(image, "uefi"), lab.folder / "disk.img")
    mark = secrets.token_hex(8)
    (lab.folder / "grub.cfg").write_text(
        f"serial --unit=0\nterminal_output console serial\necho {mark}\nsleep 1\nhalt\n"
    )
    (lab.folder / "loader.efi").write_bytes(GRUB_CD.read_bytes())
    boot = "/mnt/EFI/BOOT"
    there = f"mkdir -p {boot} && cp /host/grub.cfg {boot} && cp /host/loader.efi {boot}/BOOTX64.EFI"
    lab.prepare([Drive(path=disk)], f"mount /dev/vda1 /mnt && {there} && umount /mnt")
    with nfs_share(lab.share) as share:
        words = shared_arguments(["lvpack.action=backup", "lvpack.name=one", "lvpack.after=reboot"], share)
        kit = copied_kit(image, (*guest_arguments(accelerator(image)), *words), lab.folder / "kit")
        nvram = new_nvram(lab.folder / "nvram")
        machine = Machine(drives=(Drive(path=disk),), kit=kit, boot_file=BOOT_FILES["uefi"], nvram=nvram, reboot=True)
        with running(machine, accelerator(image), lab.folder / "console.log") as console:
            report = console.result(900)
            assert report.status == "ok", report
            console.expect(mark, 300)


@pytest.mark.parametrize("script", ["for all", "by build", "a copy"])
def test_ipxe_reads_the_script_of_the_machine(image: LiveImage, lab: Lab, script: str) -> None:
    """QEMU's BIOS is iPXE. An option that lvpack does not know tells which script it was: each has one of its own."""
    common = (*guest_arguments(accelerator(image)), "lvpack.onerror=poweroff")
    hosts = [Host(mac=MAC, arguments=(*common, "lvpack.own"))] if script == "by build" else []
    kit = copied_kit(image, (*common, "lvpack.all"), lab.folder / "kit", hosts)
    if script == "a copy":
        text = (kit / IPXE_SCRIPT).read_text()
        (kit / f"hosts/{MAC.replace(':', '-')}.ipxe").write_text(text.replace("lvpack.all", "lvpack.own"))
    disk = create_disk(lab.folder / "disk.img", MIB)
    machine = Machine(drives=(Drive(path=disk),), kit=kit, boot_file=IPXE_SCRIPT)
    with running(machine, accelerator(image), lab.folder / "console.log") as console:
        report = console.result(300)
        assert_ended(report, "refused", "lvpack.all" if script == "for all" else "lvpack.own")
        console.wait(120)


def there_and_back(
    image: LiveImage, lab: Lab, source: Path, before: Inventory, firmware: str, pack: Callable[..., Report]
) -> None:
    """Pack the sample server by `pack`, restore it by the same to a smaller disk, and compare."""
    report = pack(source, "lvpack.action=backup", "lvpack.name=one")
    assert report.status == "ok", report
    assert firmware in (lab.share / "one/agent.log").read_text()
    size = check.read_manifest(lab.share / "one").packed.disks[0].size
    target = create_disk(lab.folder / "target.img", size + 100 * MIB)
    report = pack(target, "lvpack.action=restore", "lvpack.source=one")
    assert report.status == "ok", report
    after = inventory.take(image, Drive(path=target))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
