"""Every `lvpack.*` kernel command-line option: one table for the parser, the help, the docs and the build's check."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import unquote, urlsplit

from lvpack_agent.errors import Refused
from lvpack_agent.sizes import human, parse_size

PREFIX = "lvpack."
SHARE_SCHEMES = ("nfs",)
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
# A name has labels of at most 63 characters (RFC 1035, 2.3.4); looking another one up raises no OSError.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How the image is compressed: method is zstd, gzip or none; level 0 is none, or for zstd what keeps pace."""

    method: str
    level: int

    def __str__(self) -> str:
        return f"{self.method}:{self.level}" if self.level else {"zstd": "auto"}.get(self.method, self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Free space to leave in a shrunk filesystem: percent of its minimum size, or bytes; one of them is 0."""

    percent: float = 0
    size: int = 0

    def of(self, minimum: int) -> int:
        """Return the margin in bytes for a filesystem whose minimum size is given in bytes."""
        return self.size or int(minimum * self.percent / 100)

    def __str__(self) -> str:
        return human(self.size) if self.size else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the kernel command line asks for; one field for each row of OPTIONS."""

    action: str
    target: str
    source: str
    name: str
    mode: str
    disk: tuple[str, ...]
    vg: str
    collapse: bool
    compress: Compression
    margin: Margin
    scratch: str
    dump: bool
    readback: bool
    regrow: bool
    grow: str
    efi: str
    overwrite: bool
    after: str
    onerror: str
    config: str


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
    if ".." in path.split("/") or _CONTROL.search(path):
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

_BY_NAME = {option.name: option for option in OPTIONS}
assert set(_BY_NAME) == {f.name for f in fields(Settings)}


def words(command_line: str) -> list[str]:
    """Split a kernel command line at white space outside double quotes and drop the quotes (kernel: next_arg())."""
    return [w.replace('"', "") for w in re.findall(r'(?:[^\s"]|"[^"]*"?)+', command_line)]


def check_words(arguments: Iterable[str]) -> None:
    """Raise Refused for the first unknown or malformed `lvpack.*` word; what is missing may still be added at boot."""
    _settings(_given(arguments))


def parse(arguments: Iterable[str], fetch: Callable[[str], str] | None = None) -> Settings | None:
    """Read the `lvpack.*` words of a command line; None if there is none of them.

    As in the kernel, the last of several values wins, except for repeatable options. fetch returns the text behind
    the URL of lvpack.config; without it that file stays unread. Raises Refused that names the first unknown or
    malformed option, or the one that the action needs and has not.
    """
    given = _given(arguments)
    if not given:
        return None
    settings = _settings(given)
    if settings.config and fetch:
        settings = _settings({**_given(_file_words(fetch(settings.config))), **given})
    needed = {"backup": "target", "restore": "source", "verify": "source"}.get(settings.action)
    if needed and not getattr(settings, needed):
        raise Refused(
            f"cannot {settings.action}: option '{PREFIX}{needed}' is missing",
            hint=f"give {PREFIX}{needed}={_BY_NAME[needed].values}",
        )
    _refuse_contradictions(settings)
    return settings


def _refuse_contradictions(settings: Settings) -> None:
    if settings.mode == "inplace" and settings.scratch == "ram":
        raise Refused(
            f"cannot shrink in place with '{PREFIX}scratch=ram': a power loss would take the store away in the middle",
            hint=f"leave {PREFIX}scratch out (the store is on the share then), or name an empty disk or partition",
        )
    if settings.mode == "overlay" and (settings.regrow or not settings.dump):
        option = f"{PREFIX}regrow=yes" if settings.regrow else f"{PREFIX}dump=no"
        raise Refused(
            f"cannot use option '{option}' in overlay mode: it leaves the source as it is",
            hint=f"give {PREFIX}mode=inplace as well, or leave {option} out; {PREFIX}action=plan shows a plan only",
        )
    if settings.regrow and not (settings.dump and settings.readback):
        option = f"{PREFIX}readback=no" if settings.dump else f"{PREFIX}dump=no"
        raise Refused(
            f"cannot use option '{PREFIX}regrow=yes' with '{option}': the source gets its former sizes back only when "
            "an image is known to be good",
            hint="leave one of them out",
        )


def _file_words(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if not key:
            continue
        if not equals or not key.startswith(PREFIX) or key == f"{PREFIX}config":
            raise Refused(
                f"cannot use line {number} of {PREFIX}config: '{line.strip()}'",
                hint=f"a line is {PREFIX}KEY = VALUE, and KEY is not config",
            )
        yield f"{key}={value}"


def _given(arguments: Iterable[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for word in arguments:
        if not word.startswith(PREFIX):
            continue
        key, equals, text = word.removeprefix(PREFIX).partition("=")
        if key not in _BY_NAME:
            raise Refused(
                f"cannot use option '{PREFIX}{key}': there is no such option",
                hint=f"the options are {', '.join(PREFIX + name for name in _BY_NAME)}",
            )
        if not equals:
            raise Refused(f"cannot use option '{word}': it has no value", hint=f"write {word}=VALUE")
        given.setdefault(key, []).append(text)
    return given


def _settings(given: dict[str, list[str]]) -> Settings:
    values: dict[str, Any] = {}
    for option in OPTIONS:
        texts = given.get(option.name, [option.default])
        read = [_value(option, text, explicit=option.name in given) for text in texts]
        values[option.name] = tuple(read) if option.repeatable else read[-1]
    return Settings(**values)


def _value(option: Option, text: str, *, explicit: bool) -> Any:
    if not explicit and not text:
        return ""
    try:
        if _CONTROL.search(text):
            raise ValueError("it has control characters")
        return option.read(text)
    except ValueError as error:
        raise Refused(
            f"cannot use option '{PREFIX}{option.name}={text}': {error}",
            hint=f"{PREFIX}{option.name} takes {option.values}",
        ) from None


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
