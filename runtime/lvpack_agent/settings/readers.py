"""Readers of option values: each takes the text after the `=`, and raises a ValueError that says what is wrong."""

import re
from collections.abc import Callable

from lvpack_agent.settings.values import Compression, Margin
from lvpack_agent.sizes import KIB, parse_size, parse_time


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


SLOWEST = 64 * KIB


def rate(text: str) -> int:
    """Read none, which is 0, or a size a second, in bytes."""
    if text == "none":
        return 0
    if (size := parse_size(text)) < SLOWEST:
        raise ValueError("it is less than 64K a second")
    return size


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
