"""Good samples, damaged by the dice: bytes, lines of text, and the values in JSON."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# What programs that count in so many bits get wrong, and what is no number at all.
_NUMBERS = (0, 1, -1, 255, 256, 511, 513, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1)
_HUGE = (1 << 63, 1 << 64, -(1 << 63), 10**30, 10**400)
_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "../../x",
    "/",
    "\0",
    "\n",
    "\x1b[2J",
    "é",
    "\udcfc",
    "=",
    ",",
    "nan",
    "1e999",
    "x" * 5000,
)
# Lists in lists, beyond what a reader that calls itself can follow.
_DEEP = b"[" * 100_000 + b"]" * 100_000
_DIGITS = re.compile(rb"\d+")


def damaged(sample: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Return a sample with one to four kinds of damage; others are samples that parts may come from."""
    data = sample
    for _ in range(dice.choice((1, 1, 1, 2, 3, 4))):
        data = dice.choice(_WAYS)(data, dice, others)
    return data


def damaged_json(sample: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Return JSON whose values, keys or structure are damaged; now and then its bytes instead."""
    if dice.random() < 0.1:
        return damaged(sample, dice, others)
    if dice.random() < 0.01:
        return _DEEP
    data = json.loads(sample)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places or dice.random() < 0.01:
            return json.dumps(_value(dice, data)).encode()
        # A random place of a large form is nearly always deep in a list of it: half the time one near the top.
        near = [place for place in places if place[2] <= 3]
        holder, key, _ = dice.choice(near if near and dice.random() < 0.5 else places)
        if dice.random() < 0.15:
            del holder[key]
        elif dice.random() < 0.1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[key] = _value(dice, holder[key])
    return json.dumps(data).encode()


def _places(data: Any, depth: int = 0) -> "list[tuple[Any, Any, int]]":
    """Return each place in a form that holds a value: what it is in, its key or index there, and its depth."""
    found: list[tuple[Any, Any, int]] = []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found.append((data, key, depth))
        found += _places(value, depth + 1)
    return found


def _value(dice: Random, old: Any) -> Any:
    kind = dice.randrange(8)
    if kind == 0:
        return dice.choice((None, [], {}, True, False, 0.5, float("inf"), float("nan")))
    if kind <= 2 or (isinstance(old, int) and kind <= 5):
        return dice.choice((*_NUMBERS, *_HUGE[:3]))
    if kind == 3:
        return dice.choice(_TEXTS)
    if isinstance(old, int):
        return old + dice.choice((-1, 1, 512, -512, 4096))
    if isinstance(old, str) and old:
        return damaged(old.encode(errors="surrogateescape"), dice, ()).decode(errors="surrogateescape")
    return [old] if kind == 4 else {"x": old} if kind == 5 else str(old) if kind == 6 else dice.choice(_NUMBERS)


def _flip(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([dice.randrange(256)])
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


def _cut_off(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _slice(data: bytes, dice: Random) -> tuple[int, int]:
    start = dice.randrange(len(data) + 1)
    return start, min(len(data), start + dice.choice((1, 2, 4, 8, dice.randrange(len(data) + 1))))


def _without(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    start, end = _slice(data, dice)
    return data[:start] + data[end:]


def _twice(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    start, end = _slice(data, dice)
    return data[:end] + data[start:end] * dice.choice((1, 1, 2, 50)) + data[end:] if end - start < 4096 else data


def _noise(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    start, end = _slice(data, dice)
    return data[:start] + dice.randbytes(min(end - start, 64)) + data[end:]


def _number(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    """Damage a number that is written in digits."""
    found = list(_DIGITS.finditer(data))
    if not found:
        return data
    match = dice.choice(found)
    return data[: match.start()] + str(dice.choice((*_NUMBERS, *_HUGE))).encode() + data[match.end() :]


def _integer(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    """Damage what may be a binary number of 8 to 64 bits."""
    form = dice.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(data) < size:
        return data
    at = dice.randrange(len(data) - size + 1)
    number = dice.choice((*_NUMBERS, 1 << 63)) % (1 << 8 * size)
    return data[:at] + struct.pack(form, number) + data[at + size :]


def _text(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice(_TEXTS).encode(errors="surrogateescape") + data[at:]


def _line(data: bytes, dice: Random, _: Sequence[bytes]) -> bytes:
    """Take a line away, or write it again elsewhere."""
    lines = data.split(b"\n")
    line = lines.pop(dice.randrange(len(lines)))
    if dice.random() < 0.5:
        lines.insert(dice.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _spliced(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    if not others:
        return data
    other = dice.choice(others)
    start, end = _slice(other, dice)
    at = dice.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


_WAYS: tuple[Callable[[bytes, Random, Sequence[bytes]], bytes], ...] = (
    _flip,
    _flip,
    _cut_off,
    _without,
    _twice,
    _noise,
    _number,
    _number,
    _integer,
    _text,
    _line,
    _spliced,
)
