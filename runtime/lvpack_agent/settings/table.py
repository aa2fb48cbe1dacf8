"""Every `lvpack.*` kernel command-line option: one table for the parser, the help, the docs and the build's check."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import unquote, urlsplit

from lvpack_agent.settings.values import Compression, Margin, Settings
from lvpack_agent.sizes import parse_size

PREFIX = "lvpack."
SHARE_SCHEMES = ("nfs",)
CONTROL = re.compile(r"[\0-\x1f\x7f]")
# A name has labels of at most 63 characters (RFC 1035, 2.3.4); looking another one up raises no OSError.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: name without prefix, its values for people, the default as text, its reader and its meaning."""

    name: str
    values: str
    default: str
    read: Callable[[str], Any]
    meaning: str
    repeatable: bool = False


def _one_of(*allowed: str, later: tuple[str, ...] = ()) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in later:
            raise ValueError(f"this version of lvpack does not support '{text}' yet")
        if text not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return text

    return read


def _yes_no(text: str) -> bool:
    return _one_of("no", "yes")(text) == "yes"


def _url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    host, _, path = rest.partition("/")
    if not separator or not host or not path.strip("/"):
        raise ValueError("it must be a URL such as nfs://HOST[:PORT]/PATH")
    if scheme not in SHARE_SCHEMES:
        raise ValueError(f"this version of lvpack knows only {', '.join(s + '://' for s in SHARE_SCHEMES)} shares")
    if not _HOST.fullmatch(host) or not _is_address(text):
        raise ValueError(f"'{host}' is not a HOST or HOST:PORT")
    if re.search(r"[\\?#]", path):  # a byte that is not UTF-8 has become \xNN
        raise ValueError("a backslash, '?' and '#' in its path are written as %5C, %3F and %23, in UTF-8")
    try:
        path = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("its path is not UTF-8") from None
    if ".." in path.split("/") or CONTROL.search(path):
        raise ValueError("its path must not hold '..' or control characters")
    return text


def _is_address(url: str) -> bool:
    """Return whether a URL's port is one, and what its host has in brackets an IPv6 address."""
    try:
        parts = urlsplit(url)
        if "[" in parts.netloc:
            ipaddress.IPv6Address(parts.hostname or "")
        return parts.port != 0
    except ValueError:
        return False


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", text) or text.endswith(".partial"):
        raise ValueError("it must be letters, digits, '.', '_' and '-', at most 200, and not end in .partial")
    return text


def _scratch(text: str) -> str:
    if not text.startswith("/dev/"):
        return _one_of("auto", "ram", "share")(text)
    return text


def _any(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


_COMPRESSIONS = "it must be auto, zstd:1..19, gzip:1..9 or none"


def _compression(text: str) -> Compression:
    if text == "auto":
        return Compression(method="zstd", level=0)
    method, _, level = text.partition(":")
    limits = {"zstd": (3, 19), "gzip": (6, 9), "none": (0, 0)}
    if method not in limits:
        raise ValueError(_COMPRESSIONS)
    default, highest = limits[method]
    if not level and ":" not in text:
        return Compression(method=method, level=default)
    if not re.fullmatch(r"\d{1,2}", level) or not 1 <= int(level) <= highest:
        raise ValueError(_COMPRESSIONS)
    return Compression(method=method, level=int(level))


def _margin(text: str) -> Margin:
    if text.endswith("%"):
        if not re.fullmatch(r"\d{1,4}(\.\d+)?%", text):
            raise ValueError("it must be a percentage such as 5% or a size such as 64M")
        return Margin(percent=float(text[:-1]))
    try:
        return Margin(size=parse_size(text))
    except ValueError:
        raise ValueError("it must be a percentage such as 5% or a size such as 64M") from None


OPTIONS: tuple[Option, ...] = (
    Option(
        name="action",
        values="backup, restore, plan, verify, shell",
        default="backup",
        read=_one_of("backup", "restore", "plan", "verify", "shell"),
        meaning="what to do; without any lvpack option a menu comes up and nothing is touched",
    ),
    Option(
        name="target",
        values="nfs://HOST[:PORT]/PATH",
        default="",
        read=_url,
        meaning="backup: the share that image sets are written to",
    ),
    Option(
        name="source",
        values="nfs://HOST[:PORT]/PATH/NAME",
        default="",
        read=_url,
        meaning="restore, verify: the image set to read",
    ),
    Option(
        name="name",
        values="a name",
        default="",
        read=_name,
        meaning="backup: name of the image set; by default HOSTNAME-UTCSTAMP, HOSTNAME from the source's /etc/hostname",
    ),
    Option(
        name="mode",
        values="overlay, inplace",
        default="overlay",
        read=_one_of("overlay", "inplace"),
        meaning="overlay: the source is read-only, every write lands in a copy-on-write store; inplace: the disk "
        "itself is shrunk, compacted and truncated, and a run that was cut off goes on at the next boot",
    ),
    Option(
        name="disk",
        values="auto, a device path, by-id path, WWN or serial",
        default="auto",
        read=_any,
        meaning="backup, plan: pack these disks, those without LVM too, as they are; restore: the disk to write, or "
        "one for each disk of the set, in its order. auto: follow the VG, leave other disks out; restore: the only "
        "disk there is, or of several the one that the set came from",
        repeatable=True,
    ),
    Option(
        name="vg",
        values="auto, a VG name",
        default="auto",
        read=_any,
        meaning="the VG whose disks are packed, with all VGs on them; auto: the only one, or those of one disk. If "
        "lvpack.disk names disks, the VG whose disks come first in the image set; auto: that of the first one",
    ),
    Option(
        name="collapse",
        values="yes, no",
        default="yes",
        read=_yes_no,
        meaning="backup, plan: a VG that has PVs on several disks is packed into one disk; no: each disk into one of "
        "its own",
    ),
    Option(
        name="compress",
        values="auto, zstd:1..19, gzip:1..9, none",
        default="auto",
        read=_compression,
        meaning="how the image is compressed; auto: by zstd, at a level from 1 to 9 that rises while the disk or the "
        "share is slower than the processors, and falls while it is faster",
    ),
    Option(
        name="margin",
        values="a percentage, a size",
        default="5%",
        read=_margin,
        meaning="free space left in each shrunk filesystem, as a share of its minimum size or in bytes",
    ),
    Option(
        name="scratch",
        values="auto, ram, share, a device path",
        default="auto",
        read=_scratch,
        meaning="where the copy-on-write store is: in memory, in a file on the share, or on an empty disk or "
        "partition. auto: ram in overlay mode; share in in-place mode, which needs a store that outlives a power loss",
    ),
    Option(
        name="dump",
        values="yes, no",
        default="yes",
        read=_yes_no,
        meaning="inplace: no stops after the disk was truncated; no image is written",
    ),
    Option(
        name="readback",
        values="yes, no",
        default="yes",
        read=_yes_no,
        meaning="backup: the image is read from the share again and decompressed before the set gets its name, and the "
        "contents of files on an XFS that is made anew are held against the original's; "
        "restore: what was written is read from the disk again. no saves that time, and trusts network, share and disk",
    ),
    Option(
        name="regrow",
        values="no, yes",
        default="no",
        read=_yes_no,
        meaning="inplace: yes gives the source its former sizes back once the image is verified",
    ),
    Option(
        name="grow",
        values="none",
        default="none",
        read=_one_of("none", later=("fs", "original")),
        meaning="restore: the layout is written as it was packed",
    ),
    Option(
        name="efi",
        values="entry, fallback, both, none",
        default="entry",
        read=_one_of("entry", "fallback", "both", "none"),
        meaning="restore: how UEFI firmware finds the boot loader on the disk. entry: by a boot entry, as the source "
        "had it, first in the boot order; fallback: by the name EFI/BOOT/BOOTX64.EFI, to which the loader is copied if "
        "there is none; none: that is left to you",
    ),
    Option(
        name="overwrite",
        values="no, yes",
        default="no",
        read=_yes_no,
        meaning="restore: a disk that holds anything is written only with yes",
    ),
    Option(
        name="after",
        values="poweroff, reboot, shell, halt",
        default="poweroff",
        read=_one_of("poweroff", "reboot", "shell", "halt"),
        meaning="what follows a run that ended well",
    ),
    Option(
        name="onerror",
        values="shell, poweroff, reboot, halt",
        default="shell",
        read=_one_of("shell", "poweroff", "reboot", "halt"),
        meaning="what follows a refused or failed run",
    ),
    Option(
        name="config",
        values="nfs://HOST[:PORT]/PATH/FILE",
        default="",
        read=_url,
        meaning="a file of `lvpack.KEY = VALUE` lines, `#` begins a comment; what the command line has too wins there",
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}
assert set(BY_NAME) == {f.name for f in fields(Settings)}


def as_text() -> str:
    """Return the options as lines for --help: name, values with the default first, meaning."""
    return "\n".join(f"{PREFIX}{o.name}={o.values} [{o.default or 'none'}]: {o.meaning}" for o in OPTIONS)


def as_markdown() -> str:
    """Return the options as the table that docs/options.md shows."""
    rows = ["| option | values | default | meaning |", "|---|---|---|---|"]
    for o in OPTIONS:
        default = f"`{o.default}`" if o.default else ""
        repeat = "; repeatable" if o.repeatable else ""
        rows.append(f"| `{PREFIX}{o.name}` | {o.values}{repeat} | {default} | {o.meaning} |")
    return "\n".join(rows) + "\n"
