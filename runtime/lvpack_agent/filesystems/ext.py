"""ext2, ext3 and ext4, by e2fsprogs."""

import re
import tempfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, understood
from lvpack_agent.layout.ranges import Range, joined
from lvpack_agent.printable import quoted
from lvpack_agent.processes import Completed, ToolFailed, run
from lvpack_agent.sizes import KIB

Tick = Callable[[], None] | None
# e2fsck(8): 1 is "errors corrected", 2 "reboot needed" (only for mounted filesystems), 4 "errors left uncorrected".
CORRECTED, UNCORRECTED = 1, 4

_GROUP = re.compile(r"^Group \d+: \(Blocks (\d+)-")
_TABLE = re.compile(r"^  Inode table at (\d+)")
_INODES = re.compile(r" free blocks, (\d+) free inodes, \d+ directories(?:, (\d+) unused inodes)?$")
_FREE = "  Free blocks: "
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_PASSES = re.compile(r"Pass \d")
# Lines of e2fsck that are told.
SHOWN = 5
# Its problems are in e2fsprogs: e2fsck/problem.h (PR_3_NO_LF_DIR) and e2fsck.conf(5): this one is no flaw, and stays.
_NO_LOST_AND_FOUND = "[problems]\n\t0x030004 = {\n\t\tforce_no = true\n\t\tno_ok = true\n\t}\n"
# e2fsck(8): the trees of extents stay as they are.
_AS_IT_IS = ("-E", "no_optimize_extents")
# What -p does and the kernel does at a mount, too, or that changes nothing that a mount shows (e2fsck/problem.c).
_SILENT = (
    r"recovering journal",
    r"(?:Clearing|Truncating) orphaned inode ",
    r"(?:Setting )?[Ff]ree (?:inodes|blocks) count",
    r"Free (?:inodes|blocks) count wrong",
    r"Superblock last (?:mount|write) time ",
    r".* was not cleanly unmounted",
    r".* primary superblock features different from backup",
    r".*IGNORED\.$",
    r"\d+/\d+ files \(",
)
# What e2fsck, or the libraries in it, say of a block that they could not read (e2fsprogs: e2fsck/ehandler.c, problem.c,
# lib/ext2fs/ext2_err.et.in); a file's name, which comes after a quote or a parenthesis, may say the same.
_UNREAD = re.compile(
    r"^(?:[^'(\n]*: )?(?:Error (?:while )?reading |Can't read (?:an? |next |group )|Input/output error|"
    r"Attempt to read block from filesystem resulted in short read).*",
    re.MULTILINE,
)
_ESTIMATE = re.compile(r"minimum size of the filesystem: (\d+)")
_TYPE_AND_SIZE = re.compile(r"^Inode: \d+ +Type: (\w+)\b.*?\bSize: (\d+)$", re.MULTILINE | re.DOTALL)

# Where the superblock is, and the texts in it that dumpe2fs prints as they are, whatever bytes they have (kernel:
# fs/ext4/ext4.h, struct ext4_super_block; e2fsprogs: lib/e2p/ls.c): offset, length, and what stands before each.
_SUPERBLOCK, _SUPERBLOCK_SIZE = 1024, 1024
_TEXTS = (
    (0x78, 16, "Filesystem volume name:   "),
    (0x88, 64, "Last mounted on:          "),
    (0x200, 64, "Mount options:            "),
    (0x1A8, 32, "First error function:     "),
    (0x1DC, 32, "Last error function:      "),
)
# A file that read_file() reads has at most so many bytes.
MOST_TEXT = 64 * KIB

# ext4(5): with one of these a group says how many inodes at the end of its table were never used.
_CHECKED_GROUPS = {"uninit_bg", "metadata_csum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Facts of dumpe2fs(8): sizes in bytes and blocks; clean is False with a journal to replay or known errors.

    free: blocks that hold neither files nor metadata; the parts of inode tables that were never used count as free.
    tables: all inode tables. groups: first block and number of used inodes of each block group. external_journal: the
    journal is on another device.
    """

    block_size: int
    block_count: int
    clean: bool
    features: tuple[str, ...]
    free: tuple[Range, ...]
    tables: tuple[Range, ...]
    groups: tuple[tuple[int, int], ...]
    external_journal: bool

    def has_inodes_beyond(self, size: int) -> bool:
        """Return whether a shrink to size bytes moves inodes: whether groups from there on have any."""
        return any(used for first, used in self.groups if first * self.block_size >= size)


@understood("the answer of dumpe2fs")
def parse(text: str) -> Superblock:
    """Read the output of dumpe2fs, with or without its groups. Raises Failed if it is not as dumpe2fs answers."""
    head, _, rest = text.partition("\n\n")
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    features = tuple(facts["Filesystem features"].split())
    block_size, inodes = int(facts["Block size"]), int(facts["Inodes per group"])
    # The first revision of ext2 has inodes of 128 bytes and does not say so.
    inode_size = int(facts.get("Inode size", 128))
    groups, free, tables = [], [], []
    first = table = 0
    for line in rest.splitlines():
        if found := _GROUP.search(line):
            first = int(found[1])
        elif found := _TABLE.search(line):
            table = int(found[1])
            tables.append(Range(start=table, count=int(facts["Inode blocks per group"])))
        elif found := _INODES.search(line):
            groups.append((first, inodes - int(found[1])))
            if _CHECKED_GROUPS.intersection(features):
                used_blocks = -((int(found[2] or 0) - inodes) * inode_size // block_size)
                free.append(Range(start=table + used_blocks, count=tables[-1].count - used_blocks))
        elif line.startswith(_FREE):
            for start, end in _RANGE.findall(line.removeprefix(_FREE)):
                free.append(Range(start=int(start), count=int(end or start) + 1 - int(start)))
    return Superblock(
        block_size=block_size,
        block_count=int(facts["Block count"]),
        clean=facts["Filesystem state"] == "clean" and "needs_recovery" not in features,
        features=features,
        free=joined(free),
        tables=joined(tables),
        groups=tuple(groups),
        external_journal="has_journal" in features and "Journal inode" not in facts,
    )


def read(device: str) -> Superblock:
    """Return the facts of a filesystem, its block bitmap included."""
    text = run(["dumpe2fs", device]).stdout
    with Path(device).open("rb") as file:
        file.seek(_SUPERBLOCK)
        return parse(without_texts(text, file.read(_SUPERBLOCK_SIZE)))


def without_texts(text: str, superblock: bytes) -> str:
    """Return what dumpe2fs prints without the texts of a superblock that have line breaks: they could pass for facts.

    text is as processes.run() returns it.
    """
    for offset, length, before in _TEXTS:
        raw = superblock[offset : offset + length].partition(b"\0")[0]
        if b"\n" in raw or b"\r" in raw:
            shown = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
            text = text.replace(before + shown, before, 1)
    return text


def minimum(device: str, block_size: int) -> int:
    """Return resize2fs's estimate of the smallest size, in bytes (resize2fs(8), -P)."""
    answer = run(["resize2fs", "-P", device])
    found = _ESTIMATE.search(answer.stdout)
    if not found:
        raise Failed(f"cannot find the minimum size of '{device}': {quoted(answer.stdout.strip().splitlines())}")
    return int(found[1]) * block_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What e2fsck did to a filesystem, in its words; "" for nothing.

    corrected: what it does without a question (e2fsck(8), -p), but for what the kernel does at each mount. damage: what
    it had to ask for.
    """

    corrected: str = ""
    damage: str = ""


class Unread(Failed):
    """Blocks of a filesystem could not be read: what e2fsck does then is no repair, as it writes zeros over them."""


def repair(device: str, tick: Tick = None) -> Repaired:
    """Replay the journal, check and repair; return what of that a person should know of.

    A filesystem without lost+found gets none, unless something has to be put into it. Raises Unread if a block cannot
    be read; what e2fsck made of that by then is on the device.
    """
    ok = (0, CORRECTED, UNCORRECTED, UNCORRECTED | CORRECTED)
    with tempfile.NamedTemporaryFile("w", prefix="lvpack-") as config:
        config.write(_NO_LOST_AND_FOUND)
        config.flush()
        preen = _e2fsck(["-p", *_AS_IT_IS], device, ok, tick, {"E2FSCK_CONFIG": config.name})
    corrected = _findings(preen, _mounting(device)) if preen.status & CORRECTED else ""
    if not preen.status & UNCORRECTED:
        return Repaired(corrected=corrected)
    full = _e2fsck(["-y", *_AS_IT_IS], device, (0, CORRECTED), tick)
    return Repaired(corrected=corrected, damage=_findings(full))


def _e2fsck(
    options: Sequence[str], device: str, ok: Container[int], tick: Tick, env: Mapping[str, str] | None = None
) -> Completed:
    """Run e2fsck. Raises Unread if it could not read a block, whatever its status is, which may well be a good one."""
    try:
        answer = run(["e2fsck", "-f", *options, device], ok=ok, env=env, tick=tick)
    except ToolFailed as failed:
        _refuse_unread(failed.completed, device)
        raise
    _refuse_unread(answer, device)
    return answer


def _refuse_unread(answer: Completed, device: str) -> None:
    if found := _UNREAD.search(f"{answer.stdout}\n{answer.stderr}"):
        raise Unread(
            f"cannot read the filesystem on '{device}': e2fsck says: {quoted([found[0].strip()])}",
            hint="look at dmesg and smartctl. If it is bad sectors, do not repair it, as e2fsck writes over what it "
            "cannot read: ddrescue makes a copy first",
        )


def _mounting(device: str) -> re.Pattern[str]:
    """Return what begins the lines of e2fsck -p that are about nothing, or about what a mount does as well."""
    return re.compile(rf"(?:{re.escape(device)}: +(?:{'|'.join(_SILENT)}))|$|e2fsck |\t|\(i\.e\.")


class Unclean(Failed):
    """e2fsck finds a filesystem damaged. That it could not tell is another Failed."""


def check(device: str, tick: Tick = None) -> None:
    """Check without writing. Raises Unclean with e2fsck's words if it is damaged, another Failed if it is unread."""
    answer = _e2fsck(["-n"], device, (0, UNCORRECTED, UNCORRECTED | CORRECTED), tick)
    if answer.status:
        raise Unclean(f"cannot trust the filesystem on '{device}': {_findings(answer)}")


def _findings(answer: Completed, silent: re.Pattern[str] = _PASSES) -> str:
    """Return the first lines of e2fsck that are not silent, and how many there are beside them."""
    lines = [line.strip() for line in answer.stdout.splitlines() if line.strip() and not silent.match(line)]
    # Of many, that a directory was made is still said.
    first = lines[:SHOWN] + [line for line in lines[SHOWN:] if "/lost+found" in line][:1]
    more = len(lines) - len(first)
    return quoted(first) + (f" and {more} lines more" if more else "")


def resize(device: str, size: int, tick: Tick = None) -> None:
    """Resize to a number of bytes, a multiple of 512."""
    run(["resize2fs", device, f"{size // 512}s"], tick=tick)


def read_file(device: str, path: str) -> str:
    """Return a text file of a filesystem without mounting it; "" if there is none of at most MOST_TEXT bytes.

    Only a regular file is one: a link is not followed, a FIFO or a device not opened.
    """
    found = _TYPE_AND_SIZE.search(run(["debugfs", "-R", f"stat {path}", device]).stdout)
    if not found or found[1] != "regular" or int(found[2]) > MOST_TEXT:
        return ""
    return run(["debugfs", "-R", f"cat {path}", device]).stdout
