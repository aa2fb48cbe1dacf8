"""Runs in the live image: makes layouts on its disks, one after another, and records what the tools say about each.

usage: record_layouts.py FOLDER [NAME …]. The tools are called by the agent's own readers, so that each recording is the
answer to just what the agent asks.

Most of it is the table of layouts, each with its commands.
"""

import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvpack_agent import processes
from lvpack_agent.devices import blkid, lsblk, sfdisk
from lvpack_agent.filesystems import ext
from lvpack_agent.lvm import vgreport

SCRATCH = Path("/run/record")
# No thin-provisioning-tools here; LVM runs them when it opens a pool.
LVM_CONF = 'global { thin_check_executable = "" cache_check_executable = "" }\n'
DISKS = ("vda", "vdb", "vdc", "vdd")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a layout is made, and what is asked about it: VG's metadata ("" for none), PVs, and readers by device."""

    make: str
    vg: str = ""
    pvs: tuple[str, ...] = ()
    lsblk: bool = False
    sfdisk: str = ""
    blkid: tuple[str, ...] = ()
    dumpe2fs: tuple[str, ...] = ()
    # The name of the backup file, which is in the text: as part of the command that is its description.
    file: str = "backup"
    # Whether vgcfgbackup(8) may read the VG; the text as it is on the disk says it as well.
    backup: bool = True
    on_disk: bool = False
    # A PV of which every byte is kept.
    whole: str = ""


def equal_partitions(count: int, size: str = "1G", disk: str = "/dev/vda") -> str:
    return f"for i in $(seq {count}); do echo size={size}; done | sfdisk --quiet --label gpt {disk}\n"


PVS = tuple(f"/dev/vda{n}" for n in range(1, 7))
ONE_PARTITION = "echo type=8e | sfdisk --quiet --label dos /dev/vda\n"
LONG_NAME = "longest-" + 91 * "n"

LAYOUTS = {
    "linear-many-segments": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate scattered /dev/vda1
lvcreate -y -l 100 -n even scattered $(seq -f /dev/vda1:%g 0 2 198)
lvcreate -y -l 50 -n odd scattered $(seq -f /dev/vda1:%g 199 -4 3)
""",
        vg="scattered",
        pvs=("/dev/vda1",),
        lsblk=True,
        sfdisk="/dev/vda",
        blkid=("/dev/vda1",),
    ),
    "striped": Layout(
        make="""pvcreate /dev/vdb /dev/vdc
vgcreate striped /dev/vdb /dev/vdc
lvcreate -y -i 2 -I 64k -L 64m -n fast striped
lvextend -i 1 -l +3 striped/fast /dev/vdc
""",
        vg="striped",
        pvs=("/dev/vdb", "/dev/vdc"),
    ),
    "mirror": Layout(
        make=equal_partitions(3)
        + """pvcreate /dev/vda1 /dev/vda2 /dev/vda3
vgcreate mirrored /dev/vda1 /dev/vda2 /dev/vda3
lvcreate -y --type mirror -m 1 --mirrorlog core -L 16m -n corelog mirrored
lvcreate -y --type mirror -m 1 --mirrorlog disk -L 16m -n disklog mirrored
""",
        vg="mirrored",
        pvs=PVS[:3],
    ),
    "raid": Layout(
        make=equal_partitions(5)
        + """pvcreate /dev/vda1 /dev/vda2 /dev/vda3 /dev/vda4 /dev/vda5
vgcreate raids /dev/vda1 /dev/vda2 /dev/vda3 /dev/vda4 /dev/vda5
lvcreate -y --type raid1 -m 1 -L 16m -n r1 raids
lvcreate -y --type raid4 -i 2 -L 16m -n r4 raids
lvcreate -y --type raid5 -i 2 -L 16m -n r5 raids
lvcreate -y --type raid6 -i 3 -L 16m -n r6 raids
lvcreate -y --type raid10 -i 2 -m 1 -L 16m -n r10 raids
""",
        vg="raids",
        pvs=PVS[:5],
    ),
    "integrity": Layout(
        make=equal_partitions(2)
        + """pvcreate /dev/vda1 /dev/vda2
vgcreate checked /dev/vda1 /dev/vda2
lvcreate -y --type raid1 -m 1 --raidintegrity y -L 16m -n safe checked
""",
        vg="checked",
        pvs=PVS[:2],
    ),
    "thin": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate thinly /dev/vda1
lvcreate -y --type thin-pool -L 64m -n pool thinly
lvcreate -y -V 1g --thinpool pool -n thin thinly
lvcreate -y -s -n thinsnap thinly/thin
""",
        vg="thinly",
        pvs=("/dev/vda1",),
    ),
    "snapshot": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate snapped /dev/vda1
lvcreate -y -L 32m -n origin snapped
lvcreate -y -s -L 16m -n yesterday snapped/origin
""",
        vg="snapped",
        pvs=("/dev/vda1",),
    ),
    "cache": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate cached /dev/vda1
lvcreate -y -L 32m -n pooled cached
lvcreate -y --type cache-pool -L 16m -n pool cached
lvconvert -y --type cache --cachepool pool --cachepolicy smq --cachesettings migration_threshold=2048 cached/pooled
lvcreate -y -L 32m -n attached cached
lvcreate -y -L 16m -n vol cached
lvconvert -y --type cache --cachevol vol --cachemode writeback cached/attached
""",
        vg="cached",
        pvs=("/dev/vda1",),
    ),
    "writecache": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate hasty /dev/vda1
lvcreate -y -L 32m -n slow hasty
lvcreate -y -L 16m -n quick hasty
lvchange -a n hasty/quick
lvconvert -y --type writecache --cachevol quick hasty/slow
""",
        vg="hasty",
        pvs=("/dev/vda1",),
    ),
    # Debian has no vdoformat: true(1) stands in for it, and the LVs stay inactive. What is recorded is LVM's own.
    "vdo": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate squeezed /dev/vda1
lvcreate -y -a n --config 'global/vdo_format_executable="/bin/true"' --type vdo -L 5g -V 6g -n small squeezed/pool
""",
        vg="squeezed",
        pvs=("/dev/vda1",),
    ),
    "pvmove": Layout(
        make=equal_partitions(2)
        + """pvcreate /dev/vda1 /dev/vda2
vgcreate moving /dev/vda1 /dev/vda2
lvcreate -y -L 800m -n root moving /dev/vda1
pvmove --background --interval 900 /dev/vda1 /dev/vda2
""",
        vg="moving",
        pvs=PVS[:2],
    ),
    "names-and-tags": Layout(
        make=ONE_PARTITION
        + f"""echo 'grüße #1 {{}}' > /proc/sys/kernel/hostname
pvcreate /dev/vda1
vgcreate --addtag vg.tag --addtag 'a=b#c/d!e:f&g' a_b+c.d-e--f /dev/vda1
pvchange --addtag pv+tag /dev/vda1
lvcreate -y -l 1 -n .dotted --addtag @lv-tag --addtag second a_b+c.d-e--f
lvcreate -y -l 1 -n x--y_+ a_b+c.d-e--f
lvcreate -y -l 1 -n {LONG_NAME} a_b+c.d-e--f
lvcreate -y -l 1 -n fixed --persistent y --major 253 --minor 77 --readahead 1024 --permission r --alloc cling a_b+c.d-e--f
lvchange --setactivationskip y a_b+c.d-e--f/x--y_+
""",  # noqa: E501
        vg="a_b+c.d-e--f",
        pvs=("/dev/vda1",),
        on_disk=True,
        file='a "quoted" \\ {name} # of a file',
    ),
    "kinds-of-pv": Layout(
        make=equal_partitions(6)
        + """pvcreate --metadatacopies 2 /dev/vda1
pvcreate --bootloaderareasize 1m /dev/vda2
pvcreate --dataalignment 3m --dataalignmentoffset 7s /dev/vda3
pvcreate --metadatacopies 0 /dev/vda4
pvcreate --metadatasize 5m --setphysicalvolumesize 300m /dev/vda5
pvcreate /dev/vda6
vgcreate -s 4m --maxlogicalvolumes 9 --vgmetadatacopies 3 kinds /dev/vda[1-6]
pvchange --allocatable n /dev/vda6
lvcreate -y -l 1 -n lv kinds
""",
        vg="kinds",
        pvs=PVS,
    ),
    "extent-of-1g": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate -s 1g big /dev/vda1
lvcreate -y -l 1 -n root big /dev/vda1:1
lvcreate -y -l 2 -n var big /dev/vda1:4-5
""",
        vg="big",
        pvs=("/dev/vda1",),
    ),
    "4k-sectors": Layout(
        make="""printf 'size=100M\\ntype=lvm\\n' | sfdisk --quiet --label gpt /dev/vdd
pvcreate /dev/vdd2
vgcreate -s 1m large-sectors /dev/vdd2
lvcreate -y -l 10 -n root large-sectors
mkfs.ext4 -q /dev/vdd1
""",
        vg="large-sectors",
        pvs=("/dev/vdd2",),
        lsblk=True,
        sfdisk="/dev/vdd",
        blkid=("/dev/vdd1", "/dev/vdd2"),
    ),
    "gpt-partition-after-pv": Layout(
        make="""sfdisk --quiet --label gpt /dev/vdb << END
1 : start=1M, size=1M, type=21686148-6449-6E6F-744E-656564454649, name="BIOS \\x22boot\\x22", attrs="LegacyBIOSBootable"
7 : start=300M, size=100M, type=linux, name="grüße"
3 : start=2M, size=200M, type=lvm
END
pvcreate /dev/vdb3
vgcreate middle /dev/vdb3
lvcreate -y -l 10 -n root middle
mkfs.ext4 -q -L 'a label' /dev/vdb7
""",
        vg="middle",
        pvs=("/dev/vdb3",),
        lsblk=True,
        sfdisk="/dev/vdb",
        blkid=("/dev/vdb1", "/dev/vdb7"),
    ),
    "msdos-logical-partitions": Layout(
        make="""sfdisk --quiet --label dos /dev/vdb << END
1 : start=1M, size=50M, type=83, bootable
3 : start=60M, size=900M, type=f
5 : start=61M, size=100M, type=83
6 : start=200M, size=300M, type=8e
7 : start=600M, size=100M, type=82
END
mkswap -q -L 'swap space' /dev/vdb7
pvcreate /dev/vdb6
vgcreate inner /dev/vdb6
lvcreate -y -l 10 -n root inner
""",
        vg="inner",
        pvs=("/dev/vdb6",),
        lsblk=True,
        sfdisk="/dev/vdb",
        blkid=("/dev/vdb3", "/dev/vdb7"),
    ),
    "whole-disk-pv": Layout(
        make="""pvcreate /dev/vdb
vgcreate whole /dev/vdb
lvcreate -y -l 10 -n root whole
""",
        vg="whole",
        pvs=("/dev/vdb",),
        lsblk=True,
    ),
    "cloned-disk": Layout(
        make="""echo type=8e | sfdisk --quiet --label dos /dev/vdb
pvcreate /dev/vdb1
vgcreate twice /dev/vdb1
lvcreate -y -l 10 -n root twice
vgchange -a n twice
dd if=/dev/vdb of=/dev/vdc bs=1M count=64 conv=fsync
blockdev --rereadpt /dev/vdc
""",
        vg="twice",
        pvs=("/dev/vdb1", "/dev/vdc1"),
        lsblk=True,
    ),
    "pv-without-vg": Layout(
        make=ONE_PARTITION + "pvcreate /dev/vda1\n",
        pvs=("/dev/vda1",),
        lsblk=True,
    ),
    "vg-without-lv": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate empty /dev/vda1
""",
        vg="empty",
        pvs=("/dev/vda1",),
    ),
    "read-only-vg": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate fixed /dev/vda1
lvcreate -y -l 10 -n root fixed
vgchange -a n fixed
vgcfgbackup -f text fixed
sed 's/"RESIZEABLE", "READ", "WRITE"/"RESIZEABLE", "READ"/' text > changed
vgcfgrestore -f changed fixed
""",
        vg="fixed",
        pvs=("/dev/vda1",),
    ),
    "exported-vg": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate leaving /dev/vda1
lvcreate -y -l 10 -n root leaving
vgchange -a n leaving
vgexport leaving
""",
        vg="leaving",
        pvs=("/dev/vda1",),
        lsblk=True,
    ),
    "foreign-vg": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate elsewhere /dev/vda1
lvcreate -y -l 10 -n root elsewhere
vgchange -a n elsewhere
vgchange -y --systemid other.example elsewhere
""",
        vg="elsewhere",
        pvs=("/dev/vda1",),
        lsblk=True,
    ),
    # lvmlockd and sanlock do not run here: the lock type is put into the text, and LVM writes that to the disk.
    "shared-vg": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate cluster /dev/vda1
lvcreate -y -l 10 -n root cluster
vgchange -a n cluster
vgcfgbackup -f text cluster
sed 's/^\\tformat = "lvm2".*/&\\n\\tlock_type = "sanlock"\\n\\tlock_args = "1.0.0:lvmlock"/' text > changed
vgcfgrestore -f changed cluster
""",
        vg="cluster",
        pvs=("/dev/vda1",),
        lsblk=True,
        backup=False,
        on_disk=True,
    ),
    "clustered-vg": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate formerly /dev/vda1
lvcreate -y -l 10 -n root formerly
vgchange -a n formerly
vgcfgbackup -f text formerly
sed 's/^\\tstatus = \\["RESIZEABLE"/&, "CLUSTERED"/' text > changed
vgcfgrestore -f changed formerly
""",
        vg="formerly",
        pvs=("/dev/vda1",),
        lsblk=True,
        backup=False,
        on_disk=True,
    ),
    "external-journal": Layout(
        make="""printf 'size=100M\\nsize=16M\\n' | sfdisk --quiet --label dos /dev/vdb
mkfs.ext4 -q -b 4096 -O journal_dev /dev/vdb2
mkfs.ext4 -q -b 4096 -J device=/dev/vdb2 /dev/vdb1
""",
        lsblk=True,
        blkid=("/dev/vdb1", "/dev/vdb2"),
        dumpe2fs=("/dev/vdb1",),
    ),
    "pv-in-md": Layout(
        make="""printf 'size=200M\\nsize=200M\\n' | sfdisk --quiet --label dos /dev/vdb
printf 'size=200M\\nsize=200M\\n' | sfdisk --quiet --label dos /dev/vdc
mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 /dev/vdb1 /dev/vdc1
mdadm --create /dev/md1 --run --metadata 1.0 --level 1 --raid-devices 2 /dev/vdb2 /dev/vdc2
pvcreate /dev/md0 /dev/md1
vgcreate redundant /dev/md0 /dev/md1
mdadm --stop /dev/md0 /dev/md1
""",
        lsblk=True,
        blkid=("/dev/vdb1", "/dev/vdb2"),
    ),
    "pv-in-luks": Layout(
        make="""printf 'size=100M\\ntype=8e\\n' | sfdisk --quiet --label dos /dev/vdb
dd if=/host/luks.img of=/dev/vdb2 bs=1M
""",
        lsblk=True,
        blkid=("/dev/vdb2",),
    ),
    "several-pvs": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1 /dev/vdb
vgcreate two-disks /dev/vda1 /dev/vdb
lvcreate -y -l 10 -n root two-disks /dev/vda1
lvcreate -y -l 2050 -n data two-disks
""",
        vg="two-disks",
        pvs=("/dev/vda1", "/dev/vdb"),
        lsblk=True,
    ),
    "pvmove-cut-off": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1
vgcreate moved /dev/vda1
lvcreate -y -l 10 -n root moved
lvcreate -y --type error -l 1 -n left moved
vgchange -a n moved
vgcfgbackup -f text moved
sed -i 's/^\\t\\tleft {/\\t\\tpvmove0 {/' text
vgcfgrestore --yes -f text moved
""",
        vg="moved",
        pvs=("/dev/vda1",),
    ),
    # Its text goes on at the start of the area.
    "two-metadata-areas": Layout(
        make="""echo size=4M,type=8e | sfdisk --quiet --label dos /dev/vda
pvcreate --pvmetadatacopies 2 --metadatasize 60k --dataalignment 64k --bootloaderareasize 64k /dev/vda1
vgcreate --physicalextentsize 64k areas /dev/vda1
lvcreate -y -l 10 -n root areas
vgchange -a n areas
until pvck --dump headers /dev/vda1 | awk '
    /mda_header_1.size/ { size = $2 }
    /mda_header_1.raw_locn.0..offset/ { at = $2 }
    /mda_header_1.raw_locn.0..size/ { exit at + $2 <= size }
'; do vgchange --addtag t areas; vgchange --deltag t areas; done
""",
        vg="areas",
        pvs=("/dev/vda1",),
        whole="/dev/vda1",
    ),
    "missing-pv": Layout(
        make=ONE_PARTITION
        + """pvcreate /dev/vda1 /dev/vdb
vgcreate two-disks /dev/vda1 /dev/vdb
lvcreate -y -l 10 -n root two-disks /dev/vda1
lvcreate -y -l 2050 -n data two-disks
vgchange -a n two-disks
echo 1 > /sys/block/vdb/device/../remove
""",
        vg="two-disks",
        pvs=("/dev/vda1",),
        lsblk=True,
    ),
}


class Recorder:
    """Stands in for processes.run in the agent's readers, and keeps every answer with its question."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines = folder, list[str]()

    def answers(self, name: str, ask: Callable[[], object], *modules: Any) -> None:
        for module in modules:
            module.run = lambda argv, **options: self._run(name, [str(a) for a in argv], options)
        try:
            ask()
        finally:
            for module in modules:
                module.run = processes.run

    def _run(self, name: str, argv: list[str], options: dict[str, Any]) -> processes.Completed:
        answer = processes.run(argv, **options)
        if argv[0] != "blockdev":
            (self.folder / name).write_text(answer.stdout, errors="surrogateescape")
            self.lines.append(f"{name}: {shlex.join(argv)}")
        return answer


def record(name: str, layout: Layout, folder: Path) -> None:
    folder.mkdir(parents=True)
    shell(layout.make)
    shell("udevadm trigger --subsystem-match=block --action=change && udevadm settle")
    recorder = Recorder(folder)
    if layout.lsblk:
        recorder.answers("lsblk.json", lsblk.read, lsblk)
    if layout.sfdisk:
        recorder.answers("sfdisk.json", lambda: sfdisk.read(layout.sfdisk), sfdisk)
    for device in layout.blkid:
        recorder.answers(f"blkid-{Path(device).name}.txt", lambda d=device: blkid.identify(d), blkid)  # type: ignore[misc]
    for device in layout.dumpe2fs:
        recorder.answers(f"dumpe2fs-{Path(device).name}.txt", lambda d=device: ext.read(d), ext)  # type: ignore[misc]
    if layout.pvs:
        recorder.answers("fullreport.json", lambda: vgreport.read(layout.pvs), vgreport)
    if layout.on_disk:
        argv = ["lvm", "pvck", "--dump", "metadata", "--file", str(folder / f"{layout.vg}.metadata"), layout.pvs[0]]
        processes.run(argv)
        recorder.lines.append(f"{layout.vg}.metadata: pvck --dump metadata --file {layout.vg}.metadata {layout.pvs[0]}")
    if layout.whole:
        processes.run(["sh", "-c", f"gzip -9n < {layout.whole} > {folder}/pv.gz"])
        recorder.lines.append(f"pv.gz: gzip -9n < {layout.whole}")
    if layout.vg and layout.backup:
        argv = ["vgcfgbackup", "--foreign", "--file", layout.file, layout.vg]
        processes.run(argv, cwd=SCRATCH)
        (SCRATCH / layout.file).rename(SCRATCH / "text")
        text = (SCRATCH / "text").read_bytes()
        (folder / f"{layout.vg}.vgcfgbackup").write_bytes(text)
        recorder.lines.append(f"{layout.vg}.vgcfgbackup: {shlex.join(argv)}")
    made = "".join(f"  {line}\n" for line in layout.make.splitlines())
    (folder / "README").write_text(f"made by:\n{made}" + "".join(f"{line}\n" for line in recorder.lines))


def shell(script: str) -> None:
    """Run a script in the scratch folder; it ends at its first error."""
    processes.run(["sh", "-e", "-c", script], cwd=SCRATCH)


def clear() -> None:
    """Close and empty all disks; one that was taken out is put in again."""
    shell(
        """echo 1 > /sys/bus/pci/rescan
echo lvpack > /proc/sys/kernel/hostname
lvm pvmove --abort || true
lvm vgchange -a n --force || true
[ ! -e /host/mdadm ] || mdadm --stop --scan || true
dmsetup remove_all --force || true
rm -f /run/lvm/hints
"""
        + "".join(
            f"udevadm settle; blkdiscard --force --zeroout /dev/{disk}; blockdev --rereadpt /dev/{disk}\n"
            for disk in DISKS
        )
    )


def main(out: Path, names: list[str]) -> int:
    SCRATCH.mkdir(exist_ok=True)
    Path("/etc/lvm/lvmlocal.conf").write_text(LVM_CONF)
    if Path("/host/mdadm").exists():
        shell("ln -sf /host/mdadm /usr/sbin/mdadm; modprobe raid1")
    failures = 0
    for name in names or LAYOUTS:
        print(f"== {name}", flush=True)
        try:
            clear()
            record(name, LAYOUTS[name], out / name)
        except Exception:
            failures += 1
            traceback.print_exc(file=sys.stdout)
    versions = processes.run(["sh", "-c", "lvm version; uname -r; lsblk --version; cat /sys/block/vd*/size"]).stdout
    (out / "versions.json").write_text(json.dumps(versions.splitlines()))
    os.sync()
    return failures


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
