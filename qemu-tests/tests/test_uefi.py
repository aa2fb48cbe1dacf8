"""A server that boots by UEFI, there and back: firmware that knows nothing of it boots what was restored."""

import json
import shutil
from pathlib import Path

import pytest

from lab.runs import IN_PLACE, Lab, cut_to_size
from lvpack_agent.image import check, write
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import boot_to_login, sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive, create_disk
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.lab.uefi import new_nvram

pytestmark = [pytest.mark.xdist_group("uefi"), pytest.mark.timeout(2400)]

SHIM = Loader(title="Debian 13 (ü)", partition=1, path="\\EFI\\debian\\shimx64.efi")
INSTALLER = f"efibootmgr --create --disk /dev/vda --part 1 --label '{SHIM.title}' --loader '{SHIM.path}'"
RESTORE = ("lvpack.action=restore", "lvpack.source=one")

PUT_FIRST = r"""
from lvpack_agent.devices import sfdisk
from lvpack_agent.machine import efi_boot
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.machine.firmware import firmware

assert firmware().uefi
table, _ = sfdisk.read("/dev/vda")
one = Loader(title="one", partition=1, path="\\EFI\\one\\grubx64.efi")
two = Loader(title="two", partition=1, path="\\EFI\\two\\shimx64.efi", data="00ff0a0d80")
numbers = set()
for loader, order in ((one, (one,)), (two, (two, one)), (two, (two, one)), (one, (one, two))):
    numbers.add(efi_boot.put_first("/dev/vda", table, loader).number)
    assert efi_boot.booted([table]) == (0, order), efi_boot.booted([table])
assert len(numbers) == 2, numbers
"""


@pytest.fixture(scope="module")
def server(image: LiveImage) -> Path:
    return make_sample(image, "uefi-server")


@pytest.fixture(scope="module")
def content(image: LiveImage, server: Path) -> Inventory:
    return inventory.take(image, Drive(path=server))


def installed(lab: Lab, drive: Drive) -> Path:
    """Return the variables of a firmware that has the entry that an installer makes."""
    nvram = new_nvram(lab.folder / "nvram")
    (lab.folder / "installer").write_text(f"mount -t efivarfs efivarfs /sys/firmware/efi/efivars\n{INSTALLER}\n")
    lab.prepare([drive], "sh /host/installer", nvram)
    return nvram


@pytest.fixture(scope="module")
def uefi_set(image: LiveImage, server: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's image set, from a machine whose firmware has the entry that an installer makes."""
    folder = tmp_path_factory.mktemp("uefi")
    (folder / "share").mkdir()
    lab = Lab(image=image, folder=folder, share=folder / "share")
    drive = Drive(path=server, temporary=True)
    nvram = installed(lab, drive)
    report = lab.run([drive], "lvpack.action=backup", "lvpack.name=one", firmware="uefi", nvram=nvram)
    assert report.status == "ok", report
    return lab.share / "one"


@pytest.fixture
def target(uefi_set: Path, lab: Lab) -> Path:
    return create_disk(lab.folder / "target.img", check.read_manifest(uefi_set).packed.disks[0].size + 100 * MIB)


def test_boot_entries_are_made_once_and_put_first(image: LiveImage, lab: Lab) -> None:
    disk = create_disk(lab.folder / "disk.img", 128 * MIB)
    run(["sfdisk", "--quiet", disk], input="label: gpt\nstart=1MiB, size=64MiB, type=uefi\n")
    (lab.folder / "put_first.py").write_text(PUT_FIRST)
    said = lab.prepare([Drive(path=disk)], "python3 /host/put_first.py && efibootmgr", new_nvram(lab.folder / "nvram"))
    assert said.count("* one") == said.count("* two") == said.count("* UiApp") == 1, said


@pytest.mark.full
def test_disk_that_is_packed_in_place_boots_by_the_entry_that_it_had(
    image: LiveImage, server: Path, content: Inventory, lab: Lab
) -> None:
    disk = sparse_copy(server, lab.folder / "disk.img")
    nvram = installed(lab, Drive(path=disk))
    report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.dump=no", firmware="uefi", nvram=nvram)
    assert report.status == "ok", report
    cut = cut_to_size(disk, report, lab.folder / "cut.img")
    assert cut.stat().st_size < server.stat().st_size
    assert "No errors detected" in run(["sfdisk", "--verify", cut]).stdout
    after = inventory.take(image, Drive(path=cut))
    assert inventory.differing_files(content, after) == []
    assert after.identities() == content.identities()
    boot_to_login(image, cut, lab.folder / "boot.log", nvram=nvram)


@pytest.mark.full
def test_boot_entry_is_in_the_set(uefi_set: Path) -> None:
    manifest = check.read_manifest(uefi_set)
    assert manifest.boot == (SHIM,)
    assert SHIM.title in (uefi_set / "layout/efibootmgr.txt").read_text()
    assert INSTALLER.replace("/dev/vda", "/dev/sdX") in (uefi_set / "RESTORE.txt").read_text()


@pytest.mark.full
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "found"])
def test_empty_variables_get_a_boot_entry(
    image: LiveImage, uefi_set: Path, content: Inventory, lab: Lab, target: Path, recorded: bool
) -> None:
    """recorded: the set has the entry; else, as sets of old and of BIOS boots, it has not, and the ESP tells it."""
    folder = Path(shutil.copytree(uefi_set, lab.share / "one"))
    if not recorded:
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["boot"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        write.write_sums(folder, check.read_manifest(uefi_set).images)
    nvram = new_nvram(lab.folder / "nvram")
    report = lab.run([Drive(path=target)], *RESTORE, firmware="uefi", nvram=nvram)
    assert report.status == "ok" and report.warnings == (), report
    title = SHIM.title if recorded else "debian"
    assert title.encode("utf-16-le") in nvram.read_bytes()
    after = inventory.take(image, Drive(path=target))
    assert inventory.differing_files(content, after) == []
    assert after.identities() == content.identities()
    boot_to_login(image, target, lab.folder / "boot.log", nvram=nvram)


@pytest.mark.full
def test_fallback_needs_no_boot_entry(
    image: LiveImage, uefi_set: Path, content: Inventory, lab: Lab, target: Path
) -> None:
    """A BIOS can copy it as well; the disk then boots on any UEFI machine, with Secure Boot too."""
    report = lab.run([Drive(path=target)], *RESTORE, "lvpack.efi=fallback", share=uefi_set.parent)
    assert report.status == "ok" and report.warnings == (), report
    after = inventory.take(image, Drive(path=target))
    old, new = ({e["path"] for e in found.files["partition 1"]} for found in (content, after))
    assert new - old == {f"/EFI/BOOT{name}" for name in ("", "/BOOTX64.EFI", "/grubx64.efi", "/mmx64.efi")}
    changed = inventory.differing_files(content, after)
    assert all(line.startswith("partition 1: /EFI") for line in changed), changed
    for secure in (False, True):
        nvram = new_nvram(lab.folder / f"nvram-{secure}", secure=secure)
        boot_to_login(image, target, lab.folder / "boot.log", nvram=nvram, secure=secure)
        assert "debian".encode("utf-16-le") not in nvram.read_bytes(), "shim's own fallback has made an entry"


@pytest.mark.full
def test_bios_makes_no_boot_entry_and_says_so(uefi_set: Path, lab: Lab, target: Path) -> None:
    report = lab.run([Drive(path=target)], *RESTORE, share=uefi_set.parent)
    assert report.status == "ok", report
    [warning] = report.warnings
    assert "booted by BIOS" in warning and "lvpack.efi=fallback" in warning
