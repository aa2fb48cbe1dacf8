"""What a program or library asks of the dynamic linker, read from the file itself (elf(5), ld.so(8))."""

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little endian
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The path of the dynamic linker ("" for none), names of libraries, and folders of the file's own to search."""

    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def parse(data: bytes) -> Needs:
    """Read the bytes of an ELF file; Needs() if they are anything else."""
    if not data.startswith(MAGIC):
        return Needs()
    table, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    # (type, offset in the file, address, length in the file)
    segments = []
    for at in range(table, table + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        segments.append((kind, offset, address, length))

    def text(at: int) -> str:
        return data[at : data.index(b"\0", at)].decode()

    interpreter = next((text(offset) for kind, offset, _, _ in segments if kind == PT_INTERP), "")
    rows: list[tuple[int, int]] = []
    for kind, offset, _, length in segments:
        if kind == PT_DYNAMIC:
            rows = list(struct.iter_unpack("<qQ", data[offset : offset + length]))
            ends = [number for number, (tag, _) in enumerate(rows) if tag == DT_NULL]
            rows = rows[: ends[0]] if ends else rows
    strings = next((value for tag, value in rows if tag == DT_STRTAB), 0)
    for kind, offset, address, length in segments:
        if kind == PT_LOAD and address <= strings < address + length:
            strings += offset - address
            break
    return Needs(
        interpreter=interpreter,
        libraries=tuple(text(strings + value) for tag, value in rows if tag == DT_NEEDED),
        folders=tuple(
            folder
            for tag, value in rows
            if tag in (DT_RPATH, DT_RUNPATH)
            for folder in text(strings + value).split(":")
        ),
    )


def read(path: Path) -> Needs:
    """Read a file. It need not be ELF."""
    with path.open("rb") as file:
        return parse(file.read()) if file.read(len(MAGIC)) == MAGIC and not file.seek(0) else Needs()
