"""A PV's label and its metadata areas on the disk (LVM2 2.03.31: lib/label/label.h, lib/format_text/layout.h).

The label lists the areas. No LVM command takes one away or adds one to a PV that is in use; pvresize(8) moves the
second one, but clears the header of the first before either has its text again: a power cut just then leaves no
metadata at all. Here one sector is written, the label's, when all else is on the medium.
"""

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lvpack_agent.errors import Failed
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm.vgtext import parse
from lvpack_agent.sizes import LIMIT, MIB, round_up

SECTOR = 512
# The label is in one of the first four sectors.
_SCANNED = 4
_LABEL = struct.Struct("<8sQII8s")
_LABEL_ID, _LABEL_TYPE = b"LABELONE", b"LVM2 001"
_SUMMED_FROM = 20  # the checksum is of all that follows it in the sector
_PV_UUID_AND_SIZE = 40
_PLACE = struct.Struct("<QQ")
_HEADER = struct.Struct("<16sIQQ")
_CHECKSUM = struct.Struct("<I")
_MAGIC = b" LVM2 x[5A%r0N*>"
_TEXT = struct.Struct("<QQII")
_IGNORED = 1
# VGs of ten thousand LVs have some 10 MiB.
_LONGEST = 256 * MIB
_INITIAL_CRC = 0xF597A6CF
_ANEW = "vgck --updatemetadata, with the name of the VG, writes all of them anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """The label's sector: its number, the places of areas, and the bytes before and after their list."""

    number: int
    before: bytes
    areas: tuple[MetadataArea, ...]
    after: bytes

    def sector(self) -> bytes:
        places = b"".join(_PLACE.pack(area.start, area.size) for area in self.areas) + _PLACE.pack(0, 0)
        whole = self.before + places + self.after
        if len(whole.rstrip(b"\0")) > SECTOR:
            raise Failed("cannot list another metadata area in the PV's label: it is full")
        whole = whole[:SECTOR].ljust(SECTOR, b"\0")
        head = _LABEL.unpack_from(whole)
        return _LABEL.pack(*head[:2], _crc(whole[_SUMMED_FROM:]), *head[3:]) + whole[_LABEL.size :]


def areas(device: str) -> tuple[MetadataArea, ...]:
    """Return the metadata areas that the label of a PV lists. Raises Failed if it has no intact label."""
    with Path(device).open("rb", buffering=0) as file:
        return _label(file).areas


def text(device: str, area: MetadataArea) -> bytes:
    """Return the metadata text in an area, with its final NUL. Raises Failed if it is damaged or ignored."""
    with Path(device).open("rb", buffering=0) as file:
        return _text(file, area)


def check(device: str) -> None:
    """Raise Failed unless every metadata area of a PV is intact and in use, and all have the same text."""
    if len({text(device, area) for area in areas(device)}) > 1:
        raise Failed("cannot trust the metadata areas of the PV: they have different metadata", hint=_ANEW)


def remove_second_area(device: str) -> None:
    """Take the second area, damaged or not, out of the label.

    Raises Failed, and changes nothing, unless the first area has the VG's metadata, and none older than the second's.
    """
    with Path(device).open("r+b", buffering=0) as file:
        label = _label(file)
        if len(label.areas) == 1:
            return
        if len(label.areas) != 2:
            raise Failed(f"cannot remove the second metadata area of the PV: its label lists {len(label.areas)}")
        first, second = label.areas
        seqno = other = _seqno(_text(file, first))
        with suppress(Failed):
            other = _seqno(_text(file, second))
        if seqno < other:
            raise Failed("cannot remove the second metadata area of the PV: the first is older", hint=_ANEW)
        _write_label(file, label, (first,))


def add_second_area(device: str, area: MetadataArea) -> None:
    """Write a copy of the first area's text to a new area, and then list it in the label."""
    with Path(device).open("r+b", buffering=0) as file:
        label = _label(file)
        [first] = label.areas
        copied = _text(file, first)
        if SECTOR + len(copied) > area.size:
            raise Failed(f"cannot add a metadata area of {area.size:,} bytes: the metadata is larger")
        _write(file, area.start, header(area, copied) + copied.ljust(round_up(len(copied), SECTOR), b"\0"))
        _write_label(file, label, (first, area))


def header(area: MetadataArea, copied: bytes) -> bytes:
    """Return the header of an area in which the text copied follows right after it."""
    place = _TEXT.pack(SECTOR, len(copied), _crc(copied), 0)
    rest = (_HEADER.pack(_MAGIC, 1, area.start, area.size) + place).ljust(SECTOR - _CHECKSUM.size, b"\0")
    return _CHECKSUM.pack(_crc(rest)) + rest


def _label(file: BinaryIO) -> _Label:
    head = _read(file, 0, _SCANNED * SECTOR)
    for number in range(_SCANNED):
        sector = head[number * SECTOR : (number + 1) * SECTOR]
        name, where, checksum, offset, kind = _LABEL.unpack_from(sector)
        if (name, where, kind) == (_LABEL_ID, number, _LABEL_TYPE) and checksum == _crc(sector[_SUMMED_FROM:]):
            _, at = _places(sector, offset + _PV_UUID_AND_SIZE)  # of the extents
            found, end = _places(sector, at)
            return _Label(number=number, before=sector[:at], areas=found, after=sector[end:])
    raise Failed("cannot read the label of the PV: it is missing or damaged", hint="try pvck --dump headers")


def _places(sector: bytes, at: int) -> tuple[tuple[MetadataArea, ...], int]:
    """Return the places that are listed at an offset, and the offset after the list's end."""
    found: list[MetadataArea] = []
    while at + _PLACE.size <= SECTOR:
        start, size = _PLACE.unpack_from(sector, at)
        at += _PLACE.size
        if not start:
            return tuple(found), at
        if start + size >= LIMIT:
            raise Failed("cannot read the label of the PV: an area in it ends beyond what any disk has")
        found.append(MetadataArea(start=start, size=size))
    raise Failed("cannot read the label of the PV: a list in it has no end")


def _text(file: BinaryIO, area: MetadataArea) -> bytes:
    sector = _read(file, area.start, SECTOR)
    magic, version, start, size = _HEADER.unpack_from(sector, _CHECKSUM.size)
    offset, length, checksum, flags = _TEXT.unpack_from(sector, _CHECKSUM.size + _HEADER.size)
    whole = _CHECKSUM.unpack_from(sector)[0] == _crc(sector[_CHECKSUM.size :])
    if not whole or (magic, version, start, size) != (_MAGIC, 1, area.start, area.size):
        raise Failed(
            f"cannot read the metadata area at byte {area.start:,} of the PV: its header is damaged",
            hint="lvpack.mode=overlay gives the image whole areas",
        )
    if flags & _IGNORED:
        raise Failed(
            f"cannot read the metadata area at byte {area.start:,} of the PV: it is set to be ignored",
            hint="vgchange --vgmetadatacopies all has it used again",
        )
    # The text is read into memory as a whole.
    if not SECTOR <= offset < size or length > min(size - SECTOR, _LONGEST):
        raise Failed(
            f"cannot read the metadata area at byte {area.start:,} of the PV: its text is out of place", hint=_ANEW
        )
    # The text goes on after the header when it comes to the end of the area.
    there = min(length, size - offset)
    found = _read(file, start + offset, there) + _read(file, start + SECTOR, length - there)
    if not length or checksum != _crc(found):
        raise Failed(f"cannot read the metadata area at byte {area.start:,} of the PV: its text is damaged", hint=_ANEW)
    return found


def _seqno(found: bytes) -> int:
    [vg] = parse(found.rstrip(b"\0").decode("utf-8", "surrogateescape")).sections()
    return int(str(vg.get("seqno")))


def _crc(data: bytes) -> int:
    """Return LVM's checksum: a CRC-32 with a start of its own and no last inversion (lib/misc/crc.c)."""
    return zlib.crc32(data, _INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    try:
        found = os.pread(file.fileno(), size, at)
    except OSError as error:
        raise Failed(f"cannot read {size:,} bytes at {at:,} of the PV: {error.strerror}") from error
    if len(found) != size:
        raise Failed(f"cannot read {size:,} bytes at {at:,} of the PV: it ends before that")
    return found


def _write(file: BinaryIO, at: int, data: bytes) -> None:
    """Write and wait until it is on the medium."""
    try:
        if os.pwrite(file.fileno(), data, at) != len(data):
            raise Failed(f"cannot write {len(data):,} bytes at {at:,} of the PV: it ends before that")
        os.fsync(file.fileno())
    except OSError as error:
        raise Failed(f"cannot write {len(data):,} bytes at {at:,} of the PV: {error.strerror}") from error


def _write_label(file: BinaryIO, label: _Label, listed: tuple[MetadataArea, ...]) -> None:
    changed = _Label(number=label.number, before=label.before, areas=listed, after=label.after)
    _write(file, label.number * SECTOR, changed.sector())
