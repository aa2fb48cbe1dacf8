"""Every parser, with good samples of what it reads: recordings of real tools, sets and journals as lvpack writes them.

A parser here is all that a damaged file, line or answer goes through: what is read is used as its readers use it, for a
form that is read and then breaks a plan is no better.
"""

import gzip
import hashlib
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

from lvpack_agent.backup import failed_log, journal_read, journal_record
from lvpack_agent.backup.journal_record import Merge, Progress
from lvpack_agent.devices import blkid, dmsetup, lsblk, sfdisk
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.filesystems import ext, free, swap, xfs_superblock
from lvpack_agent.image import check, files, frames, restore_text
from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.manifest import Image, Manifest, write_manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.inplace import procedure, resume
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm import pvlabel, vgreport, vgtext
from lvpack_agent.machine import efi_entries
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.network import nics
from lvpack_agent.network.options import network_options, network_words
from lvpack_agent.plan import text
from lvpack_agent.plan.make import make_plan
from lvpack_agent.probe import convert, supported
from lvpack_agent.progress import Progress as Shown
from lvpack_agent.report import Report, Sizes, parse_result
from lvpack_agent.settings import read
from lvpack_agent.settings.values import Compression, Margin
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.stored import local
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import GIB, KIB, MIB, parse_size
from lvpack_agent.snapshots import scratch_label
from lvpack_builder.image import outputs
from lvpack_builder.sets import describe, listed, listing, metrics, place
from tests.agent.builders.journals import blog_record
from tests.agent.builders.layouts import blog_layout
from tests.agent.builders.sets import manifest_of, silent, write_image
from tests.fuzz.mutate import damaged, damaged_json

DATA = Path(__file__).parents[1] / "data"
BLOG, LAYOUTS, OVMF = DATA / "blog", DATA / "layouts", DATA / "efi-ovmf"
_LEVEL = 3
# Of the image that a sample of a manifest names, and that is not there.
DIGEST = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """What is read (its name), good samples of it, and what reads one; folder is empty and for files.

    error: what may come out. Where that is not lvpack's own, the function says so, and who calls it expects it.
    """

    name: str
    samples: Callable[[], list[bytes]]
    parse: Callable[[bytes, Path], object]
    damage: Callable[[bytes, Random, list[bytes]], bytes] = damaged
    error: type[Exception] = LvpackError


def _recorded(pattern: str) -> Callable[[], list[bytes]]:
    """Return what gives the recordings that match a pattern."""
    return cache(lambda: [path.read_bytes() for path in sorted(DATA.glob(pattern))])


def _lines(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _string(data: bytes) -> str:
    """Return bytes as Python gives a command line or a tool's output: what is not UTF-8 as surrogates."""
    return data.decode(errors="surrogateescape")


# ---- What people write


def _kernel_options(data: bytes, _: Path) -> None:
    settings = read.parse(read.words(_string(data)), fetch=lambda _: "lvpack.margin = 5%\n")
    if settings:
        for url in filter(None, (settings.target, settings.source)):
            str(parse_url(url).parent())


def _config_file(data: bytes, _: Path) -> None:
    words = ["lvpack.action=backup", "lvpack.config=nfs://h/e/f"]
    read.parse(words, fetch=lambda _: _string(data))


def _network_options(data: bytes, _: Path) -> None:
    network_options(network_words(read.words(_string(data))))


# ---- What tools say


def _lsblk(data: bytes, _: Path) -> None:
    for device in lsblk.parse(_string(data)):
        device.describe()


def _sfdisk(data: bytes, _: Path) -> None:
    table, sector = sfdisk.parse(_string(data))
    sfdisk.render(table, sector)
    efi_entries.part_uuids(table)
    efi_entries.esps(table)


def _fullreport(data: bytes, _: Path) -> None:
    for vg in vgreport.parse(_string(data)):
        uuids = {pv.device: pv.uuid for pv in vg.pvs}
        # Recordings of what lvpack does not pack are refused here.
        with suppress(Refused):
            supported.refuse_unsupported(vg)
        for segment in (segment for lv in vg.lvs for segment in lv.segments):
            with suppress(Failed):
                convert.segment(segment, uuids)


def _nics(data: bytes, _: Path) -> None:
    for nic in nics.parse(_string(data), {"eth0": "virtio_net"}):
        nic.describe()


def _ext(data: bytes, _: Path) -> None:
    ext.parse(_string(data)).has_inodes_beyond(MIB)


# ---- What stands on disks


def _pv(data: bytes, folder: Path) -> None:
    path = folder / "pv"
    path.write_bytes(data)
    for area in pvlabel.areas(str(path)):
        pvlabel.text(str(path), area)
    pvlabel.check(str(path))
    pvlabel.remove_second_area(str(path))


@cache
def _pv_samples() -> list[bytes]:
    """Return the start of a recorded PV, with its second metadata area there instead of at its end."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(gzip.decompress((LAYOUTS / "two-metadata-areas/pv.gz").read_bytes()))
        file.flush()
        pvlabel.remove_second_area(file.name)
        pvlabel.add_second_area(file.name, MetadataArea(start=MIB, size=64 * KIB))
        return [Path(file.name).read_bytes()[: MIB + 64 * KIB]]


def _damaged_pv(sample: bytes, dice: Random, others: list[bytes]) -> bytes:
    """Damage the label's sector or the header of an area; mostly with checksums that are right again."""
    pv = bytearray(sample)
    at = dice.choice((512, 512, 4 * KIB, MIB))
    sector = bytearray(damaged(bytes(pv[at : at + 512]), dice, others)[:512].ljust(512, b"\0"))
    if dice.random() < 0.9:
        start, place = (20, 16) if at == 512 else (4, 0)
        struct.pack_into("<I", sector, place, zlib.crc32(sector[start:], 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF)
    pv[at : at + 512] = sector
    return bytes(pv[: dice.choice((len(pv), len(pv), dice.randrange(len(pv))))])


def _xfs(data: bytes, _: Path) -> None:
    superblock = xfs_superblock.parse(data)
    superblock.unknown()
    superblock.features()
    superblock.quota_options()
    superblock.quota_kinds()
    superblock.written(0)
    superblock.mkfs_options(superblock.minimum())


def _xfs_samples() -> list[bytes]:
    fields = (b"XFSB", 4096, 1 << 20, 0, bytes(range(16)), 1 << 19, 1 << 18, 4, 2560, 0xB4A5, 512, 512, b"label", 25)
    rest = (64, 1 << 10, 0, 0, 0, 0, 1, 0x18A, 0x5, 0xB)
    form = xfs_superblock._SUPERBLOCK
    return [form.pack(*fields, *rest).ljust(512, b"\0")]


def _efi_option(data: bytes, _: Path) -> None:
    entry = efi_entries.parse_entry(1, data)
    table, _sector = sfdisk.parse((BLOG / "sfdisk.json").read_text())
    for loader in efi_entries.loaders([entry], table):
        str(loader)


def _efi_variables() -> list[bytes]:
    rows = (row.split() for row in (OVMF / "variables.txt").read_text().splitlines() if row)
    return [bytes.fromhex(value)[4:] for name, value in rows if name.startswith("Boot0")]


def _scratch_label(data: bytes, folder: Path) -> None:
    (folder / "device").write_bytes(data)
    scratch_label.read_label(str(folder / "device"))


# ---- What stands on the share


@cache
def _manifest() -> Manifest:
    """Return the manifest of a set of the sample server; its image is a small one of zeros."""
    planned = make_plan(blog_layout(BLOG), Margin(percent=5))
    size, layout = planned.packed_size, planned.target
    sums = Checksums(stored_size=0, stored_sha256=DIGEST, raw_size=size)
    image = Image(image="disk.img.zst", block_map=(Range(start=0, count=MIB),), checksums=sums)
    made = manifest_of(layout.disks, (image,), "zstd")
    boot = (Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi"),)
    machine = {"firmware": "UEFI", "sys_vendor": "QEMU"}
    return replace(
        made, plan=planned, packed=layout, boot=boot, machine=machine, sizes=Sizes(packed_disk=size), warnings=("w",)
    )


@cache
def _manifests() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        write_manifest(Path(name), _manifest())
        return [(Path(name) / files.MANIFEST).read_bytes()]


def _manifest_used(data: bytes, folder: Path) -> None:
    (folder / files.MANIFEST).write_bytes(data)
    digests = [(hashlib.sha256(data).hexdigest(), files.MANIFEST), (DIGEST, "disk.img.zst")]
    (folder / files.SUMS).write_text("".join(f"{digest}  {name}\n" for digest, name in digests))
    manifest = place.manifest_of("read", folder, place.Means(say=silent))
    describe.describe(manifest)
    describe.plan_text(manifest)
    describe.restore_plan(manifest, [disk.size + GIB for disk in manifest.packed.disks], ["lvpack.grow=fill"], None)
    restore_text.restore_text(manifest)


class _Nothing(Exception):
    """What is never raised: whatever is on a share, the list of it comes out."""


def _on_a_share(data: bytes, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        (Path(name) / "one").mkdir()
        (Path(name) / "one" / files.MANIFEST).write_bytes(data)
        (Path(name) / f"one{failed_log.SUFFIX}").write_bytes(data)
        found = listing.listing(Share(name=name, folder=Path(name)), 2e9)
        for form in (listed.as_table, listed.as_json, metrics.as_metrics):
            form(found).encode()


def _logs() -> list[bytes]:
    return [f"{failed_log.FIRST}\nlvpack 0, 2026-11-27T21:03:15Z\n\n".encode() + line for line in _result_lines()]


def _sums(data: bytes, folder: Path) -> None:
    [manifest] = _manifests()
    (folder / files.MANIFEST).write_bytes(manifest)
    (folder / files.SUMS).write_bytes(data)
    check.read_manifest(folder, silent)


def _sums_samples() -> list[bytes]:
    [manifest] = _manifests()
    digest = hashlib.sha256(manifest).hexdigest()
    return [f"{digest}  {files.MANIFEST}\n{DIGEST}  disk.img.zst\n".encode()]


@cache
def _images() -> list[tuple[bytes, Image]]:
    """Return an image of each kind with what the manifest says of it: ten pieces, some of them holes."""
    found = []
    for method, suffix in (("zstd", ".zst"), ("gzip", ".gz")):
        with tempfile.TemporaryDirectory() as name:
            device, image = Path(name) / "device", Path(name) / f"disk.img{suffix}"
            size = 4 * MIB
            device.write_bytes(bytes(range(256)) * (size // 256))
            used = (Range(start=0, count=MIB), Range(start=3 * MIB, count=64 * KIB))
            compression = Compression(method=method, level=_LEVEL)
            sums = write_image(
                device, image, compression, used, size, Shown("", size, silent), Pace(workers=1, fixed=_LEVEL)
            )
            found.append((image.read_bytes(), Image(image=image.name, block_map=used, checksums=sums)))
    return found


def _image(number: int) -> Callable[[bytes, Path], None]:
    def parse(data: bytes, folder: Path) -> None:
        _, image = _images()[number]
        (folder / image.image).write_bytes(data)
        sums = replace(image.checksums, stored_size=len(data), stored_sha256=hashlib.sha256(data).hexdigest())
        check.check_image(folder, replace(image, checksums=sums), silent)

    return parse


def _seek_table(data: bytes, folder: Path) -> None:
    path = folder / "disk.img.zst"
    path.write_bytes(data)
    frames.read_table(local(path))
    frames.check_table(local(path), _images()[0][1].block_map, 4 * MIB)


def _damaged_table(sample: bytes, dice: Random, others: list[bytes]) -> bytes:
    """Damage the end of an image, where its seek table is."""
    at = max(0, len(sample) - 80)
    return sample[:at] + damaged(sample[at:], dice, others)


def _journal(name: str) -> Callable[[bytes, Path], None]:
    def parse(data: bytes, folder: Path) -> None:
        for other, sample in _journal_files().items():
            (folder / other).write_bytes(data if other == name else sample)
        found = journal_read.read(folder)
        if found:
            record, _ = found
            made = resume.procedure_of(record)
            if procedure.form(made.steps) == record.steps:
                text.as_text(record.plan, text.inplace_costs(record.plan))
        journal_read.unfinished(folder.parent, "U-1")

    return parse


@cache
def _journal_files() -> dict[str, bytes]:
    merge = Merge(before=("a",), after=("b",), store="t", size=MIB)
    forms = {journal_record.RECORD: blog_record(BLOG), journal_record.PROGRESS: Progress(done=2, merge=merge)}
    return {name: json.dumps(to_json(form)).encode() for name, form in forms.items()}


def _result_line(data: bytes, _: Path) -> None:
    parse_result(_string(data)).line()


def _result_lines() -> list[bytes]:
    report = Report(status="ok", action="backup", message="packed", sizes=Sizes(image=5), warnings=("w",))
    return [report.line().encode()]


def _live_image(data: bytes, folder: Path) -> None:
    (folder / outputs.MANIFEST).write_bytes(data)
    (folder / outputs.SUMS).write_text(f"{hashlib.sha256(data).hexdigest()}  {outputs.MANIFEST}\n")
    outputs.is_live_image(folder)
    outputs.check_replaceable(folder)


def _journal_samples(name: str) -> Callable[[], list[bytes]]:
    return lambda: [_journal_files()[name]]


PARSERS = (
    Parser(
        name="kernel options",
        samples=_lines(
            "quiet lvpack.action=backup lvpack.target=nfs://10.0.0.1:2049/e/a%20b lvpack.margin=5% lvpack.name=web",
            'lvpack.action=restore lvpack.source="nfs://[2001:db8::1]/e/web-1" lvpack.disk=/dev/vda lvpack.efi=both',
            "lvpack.action=backup lvpack.mode=inplace lvpack.regrow=yes lvpack.scratch=/dev/vdb lvpack.compress=zstd:3 "
            "lvpack.config=nfs://h/e/f lvpack.after=reboot lvpack.onerror=shell lvpack.target=nfs://h/e",
        ),
        parse=_kernel_options,
    ),
    Parser(
        name="lvpack.config",
        samples=_lines("# web\nlvpack.target = nfs://h/e\nlvpack.margin = 64M\n\nlvpack.disk = auto  # all\n"),
        parse=_config_file,
    ),
    Parser(
        name="network options",
        samples=_lines(
            "ip=10.0.0.2:10.0.0.9:10.0.0.1:255.255.255.0:web:eth0:off:10.0.0.3 nameserver=10.0.0.4",
            "ip=[2001:db8::2]::[2001:db8::1]:64::ens2:none bond=bond0:eth0,eth1:mode=active-backup,miimon=100 "
            "vlan=bond0.5:bond0 rd.route=10.1.0.0/16:10.0.0.1:eth0 ip=bond0:dhcp:9000:02:00:00:00:00:01 "
            "BOOTIF=01-52-54-00-12-34-56 ifname=lan:52:54:00:12:34:56 rd.neednet=1",
        ),
        parse=_network_options,
    ),
    Parser(
        name="sizes",
        samples=_lines("64M", "1.5GiB", "4096", "10T"),
        parse=lambda data, _: parse_size(_string(data)),
        error=ValueError,
    ),
    Parser(name="lsblk", samples=_recorded("**/lsblk.json"), parse=_lsblk, damage=damaged_json),
    Parser(name="sfdisk", samples=_recorded("**/sfdisk.json"), parse=_sfdisk, damage=damaged_json),
    Parser(name="lvm fullreport", samples=_recorded("**/fullreport.json"), parse=_fullreport, damage=damaged_json),
    Parser(name="ip link", samples=_recorded("bonded/link.json"), parse=_nics, damage=damaged_json),
    Parser(name="blkid", samples=_recorded("blog/blkid*.txt"), parse=lambda data, _: blkid.parse(_string(data))),
    Parser(name="dumpe2fs", samples=_recorded("blog/dumpe2fs-*.txt"), parse=_ext),
    Parser(
        name="partclone",
        samples=_recorded("blog/partclone-*.txt"),
        parse=lambda data, _: free.parse(_string(data)),
    ),
    Parser(
        name="dmsetup status",
        samples=_lines("0 1024 snapshot 16/2048 16", "0 1024 snapshot Invalid", "0 1024 snapshot Overflow"),
        parse=lambda data, _: dmsetup.parse_snapshot_status(_string(data)),
    ),
    Parser(
        name="LVM text",
        samples=_recorded("**/*.vgcfgbackup"),
        parse=lambda data, _: vgtext.render(vgtext.parse(_string(data))),
    ),
    Parser(
        name="PV label",
        samples=_pv_samples,
        parse=_pv,
        damage=_damaged_pv,
    ),
    Parser(name="XFS superblock", samples=_xfs_samples, parse=_xfs),
    Parser(name="swap header", samples=_recorded("blog/swap-head.bin"), parse=lambda data, _: swap.parse(data)),
    Parser(name="EFI load option", samples=_efi_variables, parse=_efi_option, error=ValueError),
    Parser(
        name="EFI boot order",
        samples=lambda: [b"\x02\0\x04\0\x05\0"],
        parse=lambda data, _: efi_entries.parse_numbers(data),
    ),
    Parser(
        name="scratch label",
        samples=lambda: [(scratch_label.LABEL + b'{"owner": "inplace-a", "token": "t"}').ljust(4 * KIB, b"\0")],
        parse=_scratch_label,
    ),
    Parser(name="manifest", samples=_manifests, parse=_manifest_used, damage=damaged_json),
    Parser(name="listed set", samples=_manifests, parse=_on_a_share, damage=damaged_json, error=_Nothing),
    Parser(name="listed log", samples=_logs, parse=_on_a_share, error=_Nothing),
    Parser(name="SHA256SUMS", samples=_sums_samples, parse=_sums),
    Parser(name="seek table", samples=lambda: [_images()[0][0]], parse=_seek_table, damage=_damaged_table),
    Parser(name="zstd image", samples=lambda: [_images()[0][0]], parse=_image(0)),
    Parser(name="gzip image", samples=lambda: [_images()[1][0]], parse=_image(1)),
    *(
        Parser(name=f"journal: {name}", samples=_journal_samples(name), parse=_journal(name), damage=damaged_json)
        for name in (journal_record.RECORD, journal_record.PROGRESS)
    ),
    Parser(name="result line", samples=_result_lines, parse=_result_line, error=ValueError),
    Parser(
        name="manifest of a build",
        samples=_lines(
            '{"lvpack": "0", "release": "trixie", "kernel": "6", "arguments": [], "sizes": {}, "packages": {}}'
        ),
        parse=_live_image,
        damage=damaged_json,
    ),
)
