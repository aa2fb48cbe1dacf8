"""The superblock of an XFS, and the options by which mkfs.xfs(8) makes a smaller one with the same features.

Facts of the format are from the kernel's fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; all numbers are big-endian.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.plan.grow_contents import packed_groups
from lvpack_agent.sizes import MIB, round_down, round_up

# mkfs.xfs(8) makes nothing smaller, and no smaller log, without --unsupported.
LEAST, LEAST_LOG = 300 * MIB, 64 * MIB
# Nor a larger one (xfsprogs: libxfs/xfs_fs.h, XFS_MAX_LOG_BYTES, 10 MiB less than 2 GiB; XFS_MAX_LOG_BLOCKS).
MOST_LOG, MOST_LOG_BLOCKS = 2038 * MIB, 1 << 20
# The part of an allocation group that the log may take where the groups are small.
LOG_OF_GROUP = 3 / 4
# The part of a large filesystem that is log (xfsprogs: mkfs/xfs_mkfs.c, calculate_log_size(), has the same).
LOG_PART = 2048
# The kernel keeps 8192 blocks for itself (xfs_mount.c, xfs_default_resblks()), and in each allocation group what the
# trees of owners and of shared extents can grow to (xfs_ag_resv.c), together some 4 %.
RESERVED_BLOCKS, RESERVED = 8192, 0.05
# What a copy writes beside the blocks in use: trees as they grow, the new allocation groups.
OVERHEAD, OVERHEAD_FLOOR = 1.05, 16 * MIB

_SUPERBLOCK = struct.Struct(">4sIQQ8x16sQ28xII4xIHHH2x12s7xBQ8xQ24xH6xIIB3xII8xII")

MAGIC = b"XFSB"
# Offsets of sb_agblocks, sb_agblklog and sb_crc.
_GROUP_BLOCKS, _GROUP_BLOCKS_LOG, _CRC = 84, 124, 224

# sb_versionnum: the number, and bits of what mkfs.xfs lets one choose.
_NUMBER, _CASELESS, _LOG2 = 0x000F, 0x4000, 0x0400
# sb_features2
_LAZY, _ATTR2, _PROJECT32, _FILETYPE = 0x002, 0x008, 0x080, 0x200
_KEPT2 = _LAZY | _ATTR2 | _PROJECT32 | _FILETYPE
# sb_features_ro_compat and sb_features_incompat, as options of mkfs.xfs(8).
_RO = {0x1: ("-m", "finobt"), 0x2: ("-m", "rmapbt"), 0x4: ("-m", "reflink"), 0x8: ("-m", "inobtcount")}
_INCOMPATIBLE = {0x1: ("-n", "ftype"), 0x2: ("-i", "sparse"), 0x8: ("-m", "bigtime"), 0x20: ("-i", "nrext64")}
# Those that an older mkfs.xfs does not know: named only if they are wanted.
_NEW = {0x40: ("-i", "exchange"), 0x80: ("-n", "parent")}
REFLINK = 0x4
# The UUID that people see differs from that in the metadata; mkfs.xfs makes both the same.
_TWO_UUIDS = 0x4
# xfs_repair(8) has not got to its end, or is asked for: no kernel mounts it.
_NEEDS_REPAIR = 0x10
# Names of what is not made anew, for people.
_OTHERS = {0x100: "metadir", 0x200: "zoned", 0x400: "zone gaps"}
# sb_qflags: what is accounted, and what is enforced (fs/xfs/libxfs/xfs_log_format.h), as options of mount (xfs(5)).
_QUOTAS = (
    ("u", 0x001, 0x002, "uquota", "uqnoenforce"),
    ("g", 0x040, 0x080, "gquota", "gqnoenforce"),
    ("p", 0x008, 0x200, "pquota", "pqnoenforce"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What lvpack uses of a superblock; sizes in bytes where the name does not end in _blocks."""

    block_size: int
    blocks: int
    realtime_blocks: int
    uuid: bytes
    log_start: int
    group_blocks: int
    groups: int
    log_blocks: int
    version: int
    sector_size: int
    inode_size: int
    label: bytes
    inode_percent: int
    inodes: int
    free_blocks: int
    quotas: int
    stripe_blocks: int
    width_blocks: int
    directory_log: int
    log_stripe: int
    features2: int
    ro_compatible: int
    incompatible: int

    @property
    def size(self) -> int:
        """The bytes of the filesystem, by its superblock."""
        return self.blocks * self.block_size

    @property
    def group_size(self) -> int:
        """The bytes of each allocation group but the last, which may be smaller."""
        return self.group_blocks * self.block_size

    @property
    def crc(self) -> bool:
        """Whether it is of version 5, which has checksums of its metadata."""
        return self.version & _NUMBER == 5

    def unknown(self) -> str:
        """Return, for people, what of this filesystem mkfs_options() cannot ask for; "" if it can ask for all."""
        if self.version & _NUMBER not in (4, 5):
            return f"it is of version {self.version & _NUMBER}"
        if self.incompatible & _NEEDS_REPAIR:
            return "its superblock says that xfs_repair has to look at it first"
        others = self.incompatible & ~sum((*_INCOMPATIBLE, *_NEW, _TWO_UUIDS))
        names = [_OTHERS.get(1 << bit, f"incompatible {1 << bit:#x}") for bit in range(32) if others >> bit & 1]
        names += [f"read-only {1 << bit:#x}" for bit in range(32) if (self.ro_compatible & ~sum(_RO)) >> bit & 1]
        return f"it has features that this version does not know ({', '.join(names)})" if names else ""

    def features(self) -> tuple[int, ...]:
        """Return what decides whether a kernel can mount it."""
        version = self.version & (_NUMBER | _CASELESS | _LOG2)
        return version, self.features2 & _KEPT2, self.ro_compatible, self.incompatible & ~_TWO_UUIDS

    def minimum(self) -> int:
        """Return the bytes that a new filesystem with the same files needs."""
        needed = (self._used() + RESERVED_BLOCKS * self.block_size) / (1 - RESERVED)
        return max(LEAST, round_up(int(needed) + self._new_log(), MIB))

    def written(self, preallocated: int) -> int:
        """Return the bytes that making it anew writes, at most; blocks that are only preallocated are not written."""
        return int((self._used() - preallocated) * OVERHEAD) + self._new_log() + OVERHEAD_FLOOR

    def _new_log(self, group: int = 0) -> int:
        """Return the bytes of the log of a new filesystem: what mkfs.xfs makes of the size that this one has.

        For no log grows with its filesystem. It fits into a group of so many bytes, if that is given. To align it,
        mkfs.xfs cuts something off.
        """
        aligned = MIB if self.log_stripe > 1 else 0
        most = min(MOST_LOG, MOST_LOG_BLOCKS * self.block_size) - aligned
        if group:
            most = min(most, round_down(int(group * LOG_OF_GROUP), MIB))
        return max(LEAST_LOG, min(round_up(self.size // LOG_PART, MIB), most)) + aligned

    def new_groups(self, size: int) -> tuple[int, int]:
        """Return how many groups a new filesystem of size bytes has, and the bytes of each (plan.grow_contents)."""
        return packed_groups(self.size, self.groups, self.group_size, size)

    def _inode_percent(self, size: int) -> int:
        """Return the percentage of size bytes that inodes may take (maxpct): the same, or twice what there are."""
        if not self.inode_percent:  # There is no limit.
            return 0
        return max(self.inode_percent, min(100, -(-2 * self.inodes * self.inode_size * 100 // size)))

    def _used(self) -> int:
        return (self.blocks - self.free_blocks - self.log_blocks) * self.block_size

    def quota_options(self) -> str:
        """Return the options of mount(8) that account and enforce the same quotas."""
        words = []
        for _, accounted, enforced, quota, without in _QUOTAS:
            if self.quotas & accounted:
                words.append(quota if self.quotas & enforced else without)
        return ",".join(words)

    def quota_kinds(self) -> list[str]:
        """Return the options of xfs_quota(8) for the quotas that are accounted."""
        return [kind for kind, accounted, *_ in _QUOTAS if self.quotas & accounted]

    def mkfs_options(self, size: int) -> list[str]:
        """Return the options of mkfs.xfs(8) for a filesystem of size bytes with these features, UUID and label."""
        uuid = self.uuid.hex()
        groups, _ = self.new_groups(size)
        words: dict[str, list[str]] = {
            "-b": [f"size={self.block_size}"],
            "-s": [f"size={self.sector_size}"],
            "-m": [
                f"crc={self.crc:d}",
                "uuid=" + "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
            ],
            "-i": [f"size={self.inode_size}", f"maxpct={self._inode_percent(size)}"],
            "-n": [
                f"size={self.block_size << self.directory_log}",
                "version=ci" if self.version & _CASELESS else "version=2",
            ],
            "-l": [
                f"version={2 if self.version & _LOG2 else 1}",
                f"lazy-count={bool(self.features2 & _LAZY):d}",
                f"size={self._new_log(size // groups)}",
            ],
            # On RAID mkfs.xfs makes more groups, too small for the log of a small filesystem, and then less than the
            # size that it was given.
            "-d": [f"size={size}", f"agcount={groups}"],
        }
        if self.stripe_blocks:
            sectors = self.block_size // 512
            words["-d"] += [f"sunit={self.stripe_blocks * sectors}", f"swidth={self.width_blocks * sectors}"]
        else:
            words["-d"] += ["noalign"]
        if self.log_stripe > 1:
            words["-l"].append(f"su={self.log_stripe}")
        if self.crc:
            for have, known in ((self.ro_compatible, _RO), (self.incompatible, _INCOMPATIBLE)):
                for bit, (option, name) in known.items():
                    words[option].append(f"{name}={bool(have & bit):d}")
            for bit, (option, name) in _NEW.items():
                words[option] += [f"{name}=1"] if self.incompatible & bit else []
        else:
            words["-i"] += [f"attr={2 if self.features2 & _ATTR2 else 1}"]
            words["-i"] += [f"projid32bit={bool(self.features2 & _PROJECT32):d}"]
            words["-n"] += [f"ftype={bool(self.features2 & _FILETYPE):d}"]
        options = [word for option, values in words.items() for word in (option, ",".join(values))]
        # A single group is "unsupported", for xfs_repair compares the superblocks of two.
        options += ["--unsupported"] if groups == 1 else []
        label = self.label.rstrip(b"\0").decode("utf-8", "surrogateescape")
        return [*options, "-L", label] if label else options


def set_group_blocks(device: str, blocks: int) -> None:
    """Let the only allocation group of a filesystem be one of so many blocks that is cut off where the filesystem ends.

    It grows by groups of that size then. Every last group may be cut off (kernel: fs/xfs/libxfs/xfs_alloc.c,
    xfs_validate_ag_length()), and nothing in a first one depends on how large it could be.
    """
    block = read(device)
    with Path(device).open("r+b", buffering=0) as file:
        sector = bytearray(file.read(block.sector_size))
        struct.pack_into(">I", sector, _GROUP_BLOCKS, blocks)
        sector[_GROUP_BLOCKS_LOG] = (blocks - 1).bit_length()
        if block.crc:
            struct.pack_into("<I", sector, _CRC, 0)
            struct.pack_into("<I", sector, _CRC, crc32c(bytes(sector)))
        file.seek(0)
        file.write(sector)
        os.fsync(file.fileno())


def crc32c(data: bytes) -> int:
    """Return the checksum that the kernel calls crc32c (RFC 3720, B.4): of XFS's metadata, and not zlib's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def parse(data: bytes) -> Superblock:
    """Read a superblock, the first 512 bytes of a filesystem. Raises Failed if it is none."""
    if not data.startswith(MAGIC) or len(data) < _SUPERBLOCK.size:
        raise Failed("cannot read XFS: there is no superblock")
    _, *values = _SUPERBLOCK.unpack_from(data)
    return Superblock(**dict(zip(Superblock.__dataclass_fields__, values, strict=True)))


def read(device: str) -> Superblock:
    """Return the superblock of a filesystem."""
    with Path(device).open("rb") as file:
        return parse(file.read(512))
