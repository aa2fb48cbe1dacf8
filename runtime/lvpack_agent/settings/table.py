"""Every `lvpack.*` kernel command-line option: one table for the parser, the help, the docs and the build's check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvpack_agent.settings import receivers
from lvpack_agent.settings.growing import grow
from lvpack_agent.settings.readers import anything, compression, margin, name, one_of, patience, rate, scratch, yes_no
from lvpack_agent.settings.share_options import FORM, share_options
from lvpack_agent.settings.urls import FORMS, masked, url
from lvpack_agent.settings.values import ShareOptions

PREFIX = "lvpack."
# What options are about, in the order in which help lists them.
GROUPS = ("what", "where", "how", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: name without prefix, its values for people, the default as text, its reader and its meaning.

    group: one of GROUPS; brief: what --help has room for, at most 52 characters; unset: the value if there is neither
    the option nor a default; shown: returns a value as an error may show it.
    """

    name: str
    group: str
    brief: str
    values: str
    default: str
    read: Callable[[str], Any]
    meaning: str
    repeatable: bool = False
    unset: Any = ""
    shown: Callable[[str], str] = masked


OPTIONS: tuple[Option, ...] = (
    Option(
        name="action",
        group="what",
        brief="backup, restore, plan, verify or shell",
        values="backup, restore, plan, verify, shell",
        default="backup",
        read=one_of("backup", "restore", "plan", "verify", "shell"),
        meaning="what to do; without any lvpack option a menu comes up and nothing is touched",
    ),
    Option(
        name="target",
        group="where",
        brief="backup: the URL of the share",
        values=FORMS,
        default="",
        read=url(),
        meaning="backup: the share that image sets are written to",
    ),
    Option(
        name="source",
        group="where",
        brief="restore, verify, plan: a set, nfs://HOST/PATH/NAME",
        values="the URL of a share, /NAME",
        default="",
        read=url(beside=1),
        meaning="restore, verify: the image set to read; plan: the set whose restore is planned, instead of a backup",
    ),
    Option(
        name="share",
        group="where",
        brief="options of the share: user=NAME,domain=NAME,seal",
        values=FORM,
        default="",
        read=share_options,
        unset=ShareOptions(),
        meaning="options of the share that are no secrets, with commas between them ([shares](shares.md))",
    ),
    Option(
        name="secrets",
        group="where",
        brief="where secrets come from: auto, ask or none",
        values="auto, ask, none",
        default="auto",
        read=one_of("auto", "ask", "none"),
        meaning="where passwords and keys come from. auto: from what `lvpack build --secret` packed, the firmware of a "
        "virtual machine, or a stick with the label LVPACK; ask: a password that is in none of these is asked for on "
        "every console; none: none is looked for ([secrets](secrets.md))",
    ),
    Option(
        name="name",
        group="where",
        brief="backup: name of the image set",
        values="a name",
        default="",
        read=name,
        meaning="backup: name of the image set; by default HOSTNAME-UTCSTAMP, HOSTNAME from the source's /etc/hostname",
    ),
    Option(
        name="readers",
        group="where",
        brief="backup: who may read the set: owner, group",
        values="owner, group",
        default="owner",
        read=one_of("owner", "group"),
        meaning="backup: who may read the image set, which holds all secrets of the server. owner: only who owns its "
        "files, root if the server does not squash it; group: also the group of the share's folder",
    ),
    Option(
        name="mode",
        group="what",
        brief="overlay: source is not written; inplace: it shrinks",
        values="overlay, inplace",
        default="overlay",
        read=one_of("overlay", "inplace"),
        meaning="overlay: the source is read-only, every write lands in a copy-on-write store; inplace: the disk "
        "itself is shrunk, compacted and truncated, and a run that was cut off goes on at the next boot",
    ),
    Option(
        name="disk",
        group="what",
        brief="disks to pack or to write; auto, path, WWN, serial",
        values="auto, a device path, by-id path, WWN or serial",
        default="auto",
        read=anything,
        meaning="backup, plan: the disks to pack; those without LVM are packed as they are. restore: the disk to "
        "write, or one for each disk of the set, in its order. auto: a backup packs the disks of the VG and leaves "
        "others out; a restore writes the only disk there is, or of several the one that the set came from",
        repeatable=True,
    ),
    Option(
        name="vg",
        group="what",
        brief="the VG whose disks are packed; auto, or its name",
        values="auto, a VG name",
        default="auto",
        read=anything,
        meaning="the VG whose disks are packed, with all other VGs on these disks. auto: the only VG, or all VGs if "
        "they share disks. If lvpack.disk names disks: the VG whose disks come first in the image set; auto: the VG of "
        "the first disk that is named",
    ),
    Option(
        name="collapse",
        group="what",
        brief="VG of several disks becomes one disk: yes, no",
        values="yes, no",
        default="yes",
        read=yes_no,
        meaning="backup, plan: a VG that has PVs on several disks is packed into one disk; no: each disk into one of "
        "its own",
    ),
    Option(
        name="compress",
        group="how",
        brief="auto, zstd:1..19, gzip:1..9 or none",
        values="auto, zstd:1..19, gzip:1..9, none",
        default="auto",
        read=compression,
        meaning="how the image is compressed; auto: by zstd, at a level from 1 to 9 that rises while the disk or the "
        "share is slower than the processors, and falls while it is faster",
    ),
    Option(
        name="margin",
        group="how",
        brief="space left in a shrunk filesystem: 5%, or a size",
        values="a percentage, a size",
        default="5%",
        read=margin,
        meaning="free space left in each shrunk filesystem, as a share of its minimum size or in bytes",
    ),
    Option(
        name="scratch",
        group="where",
        brief="copy-on-write store: auto, ram, share or a device",
        values="auto, ram, share, a device path",
        default="auto",
        read=scratch,
        meaning="where the copy-on-write store is: in memory, in a file on the share, or on an empty disk or "
        "partition. auto: ram in overlay mode; share in in-place mode, which needs a store that outlives a power loss",
    ),
    Option(
        name="dump",
        group="how",
        brief="inplace: write an image: yes, no",
        values="yes, no",
        default="yes",
        read=yes_no,
        meaning="inplace: no ends the run when the disk is truncated; no image is written",
    ),
    Option(
        name="readback",
        group="how",
        brief="read again what was written: yes, no",
        values="yes, no",
        default="yes",
        read=yes_no,
        meaning="backup: the image is read from the share again and decompressed before the set gets its name, and the "
        "contents of files on an XFS that is made anew are compared with the originals; "
        "restore: what was written is read from the disk again. no saves that time, and trusts network, share and disk",
    ),
    Option(
        name="errors",
        group="how",
        brief="backup: sectors that cannot be read: stop, skip",
        values="stop, skip",
        default="stop",
        read=one_of("stop", "skip"),
        meaning="backup: what follows a sector of the source that cannot be read. stop: the run fails, and names disk, "
        "sector, LV and file; skip: it becomes zeros, the run goes on, and warnings, `bad-sectors.txt` in the set, "
        "verify, inspect and a restore say what is missing. Not in place, which writes the source",
    ),
    Option(
        name="regrow",
        group="how",
        brief="inplace: former sizes come back at the end: no, yes",
        values="no, yes",
        default="no",
        read=yes_no,
        meaning="inplace: yes gives the source its former sizes back once the image is verified",
    ),
    Option(
        name="grow",
        group="how",
        brief="restore: source, fill, none, or rules NAME=SIZE",
        values="source, fill, none, or rules NAME=SIZE, +SIZE, N%, max, source, packed (swap also ram) with commas "
        "between them",
        default="source",
        read=grow,
        meaning="restore: what becomes of the space that the target has beyond the packed disk. source: LVs, with what "
        "is on them, get the sizes back that they had, the VG its free space; on a smaller disk each a share in "
        "proportion to what it lost. fill: what is left then is shared out, too, but not to swap. none: the layout "
        "stays as it was packed. A rule sets the size of one LV, that of all others follows source",
    ),
    Option(
        name="efi",
        group="how",
        brief="restore, UEFI: entry, fallback, both or none",
        values="entry, fallback, both, none",
        default="entry",
        read=one_of("entry", "fallback", "both", "none"),
        meaning="restore: how UEFI firmware finds the boot loader on the disk. entry: by a boot entry, as the source "
        "had it, first in the boot order; fallback: by the name EFI/BOOT/BOOTX64.EFI, to which the loader is copied if "
        "there is none; both: in both ways; none: that is left to you",
    ),
    Option(
        name="overwrite",
        group="how",
        brief="restore: write a disk that holds anything: no, yes",
        values="no, yes",
        default="no",
        read=yes_no,
        meaning="restore: a disk that holds anything is written only with yes",
    ),
    Option(
        name="patience",
        group="how",
        brief="how long a silent share is waited for: 10m, 2h, 0",
        values="a time such as 10m, 90s, 2h or 0",
        default="10m",
        read=patience,
        meaning="how long a run waits for a share that does not answer any more; it goes on where it was when the "
        "server is back, also when that was restarted. 0: it ends as soon as that is noticed, after some 10 seconds",
    ),
    Option(
        name="rate",
        group="how",
        brief="images go by at most so fast: none, 50M a second",
        values="none, a size",
        default="none",
        read=rate,
        meaning="how many bytes (not bits) a second of an image go to the share, or come from it when it is read "
        "again, verified or restored, such as 50M; 64K at least. Not what else goes over the network, such as a "
        "copy-on-write store on the share ([shares](shares.md#a-rate-for-many-machines))",
    ),
    Option(
        name="after",
        group="after",
        brief="a good run: poweroff, reboot, shell or halt",
        values="poweroff, reboot, shell, halt",
        default="poweroff",
        read=one_of("poweroff", "reboot", "shell", "halt"),
        meaning="what follows a run that ended well",
    ),
    Option(
        name="onerror",
        group="after",
        brief="a bad one: shell, poweroff, reboot or halt",
        values="shell, poweroff, reboot, halt",
        default="shell",
        read=one_of("shell", "poweroff", "reboot", "halt"),
        meaning="what follows a refused or failed run",
    ),
    Option(
        name="notify",
        group="after",
        brief="who is told of it: a URL that takes a POST",
        values=receivers.FORM,
        default="",
        read=receivers.receiver,
        meaning="who is told, by a POST of JSON, that a run begins and what has come of it; get+: by a GET instead, "
        "with {status} and the like in the URL filled in; secret:NAME: the URL is that secret. A receiver that is down "
        "is a warning ([notify](notify.md))",
        repeatable=True,
        shown=receivers.shown,
    ),
    Option(
        name="config",
        group="where",
        brief="a file of further options, nfs://HOST/PATH/FILE",
        values="the URL of a share, /FILE",
        default="",
        read=url(beside=1),
        meaning="a file of `lvpack.KEY = VALUE` lines, `#` begins a comment; an option of the command line wins "
        "over the file's",
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}


def in_group(group: str) -> tuple[Option, ...]:
    """Return the options of one of GROUPS."""
    return tuple(option for option in OPTIONS if option.group == group)


def as_text() -> str:
    """Return the options as lines for --help, by group; each fits a terminal of 80 columns."""
    width = max(len(option.name) for option in OPTIONS)
    lines = []
    for group in GROUPS:
        for number, option in enumerate(in_group(group)):
            head = "" if number else group
            lines.append(f"  {head:<5}  {PREFIX}{option.name:<{width}}  {option.brief}")
    return "\n".join(lines)


def as_markdown() -> str:
    """Return the options as the table that docs/options.md shows."""
    rows = ["| option | values | default | meaning |", "|---|---|---|---|"]
    for o in OPTIONS:
        default = f"`{o.default}`" if o.default else ""
        repeat = "; repeatable" if o.repeatable else ""
        rows.append(f"| `{PREFIX}{o.name}` | {o.values}{repeat} | {default} | {o.meaning} |")
    return "\n".join(rows) + "\n"
