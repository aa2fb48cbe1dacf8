"""Byte counts: reading what people write, printing what people read, rounding."""

import re

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
# The kernel counts the bytes of a device in 63 bits (loff_t).
LIMIT = 1 << 63

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a size such as 64M, 1.5GiB or 4096 (bytes); units are powers of 1024. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("not a size such as 64M or 2G")
    size = float(found[1]) * _UNITS[found[2].upper()]
    if size >= LIMIT:
        raise ValueError("more than any disk has")
    return int(size)


def human(size: float) -> str:
    """Return a byte count with three significant digits and a binary unit, e.g. 1.39 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            break
        size /= 1024
    digits = 0 if unit == "B" or size >= 100 else 1 if size >= 10 else 2
    return f"{size:.{digits}f} {unit}"


def round_up(value: int, step: int) -> int:
    """Return value, rounded up to a multiple of step."""
    return -(-value // step) * step


def round_down(value: int, step: int) -> int:
    """Return value, rounded down to a multiple of step."""
    return value // step * step


_TIMES = {"s": 1, "m": 60, "h": 3600}


def parse_time(text: str) -> int:
    """Read a time such as 10m, 90s, 2h or 0; a number alone is seconds. Return seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,9})([smh]?)", text, re.ASCII)
    if not found:
        raise ValueError("not a time such as 10m, 90s or 2h")
    return int(found[1]) * _TIMES[found[2] or "s"]


def human_time(seconds: float) -> str:
    """Return a time in words: 45 s, 10 min, 10 min 30 s or 2 h 5 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
