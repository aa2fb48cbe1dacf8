"""Readers of option values: each takes the text after the `=`, and raises a ValueError that says what is wrong."""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from lvpack_agent.settings.values import Compression, Margin
from lvpack_agent.sizes import parse_size, parse_time

SHARE_SCHEMES = ("nfs",)
CONTROL = re.compile(r"[\0-\x1f\x7f]")
# Labels of a name have at most 63 characters (RFC 1035, 2.3.4); looking up a longer one raises an error that is no
# OSError.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)(:[0-9]{1,5})?")


def one_of(*allowed: str, later: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Return a reader of one of the allowed words; later are words that a coming version will allow."""

    def read(text: str) -> str:
        if text in later:
            raise ValueError(f"this version of lvpack does not support '{text}' yet")
        if text not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return text

    return read


def yes_no(text: str) -> bool:
    """Read yes or no."""
    return one_of("no", "yes")(text) == "yes"


def url(text: str) -> str:
    """Read the URL of a share, or of something on one; it is checked and stays text."""
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


def name(text: str) -> str:
    """Read the name of an image set."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", text) or text.endswith((".partial", ".failed.log")):
        raise ValueError(
            "it must be letters, digits, '.', '_' and '-', at most 200, and not end in .partial or .failed.log"
        )
    return text


def scratch(text: str) -> str:
    """Read a place for the copy-on-write store."""
    if not text.startswith("/dev/"):
        return one_of("auto", "ram", "share")(text)
    return text


def anything(text: str) -> str:
    """Read any text that is not empty."""
    if not text:
        raise ValueError("it is empty")
    return text


_COMPRESSIONS = "it must be auto, zstd:1..19, gzip:1..9 or none"


def compression(text: str) -> Compression:
    """Read a method of compression with its level."""
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


LONGEST_PATIENCE = 7 * 24 * 3600


def patience(text: str) -> int:
    """Read a time, in seconds, for which a share is waited for."""
    if (seconds := parse_time(text)) > LONGEST_PATIENCE:
        raise ValueError("it is more than a week")
    return seconds


def margin(text: str) -> Margin:
    """Read a percentage or a size."""
    if text.endswith("%"):
        if not re.fullmatch(r"\d{1,4}(\.\d+)?%", text):
            raise ValueError("it must be a percentage such as 5% or a size such as 64M")
        return Margin(percent=float(text[:-1]))
    try:
        return Margin(size=parse_size(text))
    except ValueError:
        raise ValueError("it must be a percentage such as 5% or a size such as 64M") from None
