"""Text of others, such as names on disks and what tools say, made harmless for terminals, logs and their readers.

Every error, warning and line of a run goes through here, so that a file's name can neither steer a terminal nor pass
for a line, or for the result, of lvpack.
"""

from collections.abc import Iterable

# The word by which programs know the result line. No text but that line itself has it.
MARK = "LVPACK-RESULT"
_BROKEN = MARK.replace("-", "\\x2d")
_SURROGATE = 0xDC00  # what stands for byte N is this and N (PEP 383)


def printable(text: str) -> str:
    r"""Return text with what does not print as escapes, and without the mark of the result line.

    Escaped are control characters, also those of C1, what turns the direction of writing, other characters without a
    glyph of their own, and line ends (all for which str.isprintable is false): as \xHH below 128, else as \uHHHH.
    A byte that is not UTF-8 is \xHH. A backslash stays as it is.
    """
    return escaped(text).replace(MARK, _BROKEN)


def escaped(text: str) -> str:
    """Return the same with its marks, for text that may have one."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    if _SURROGATE + 0x80 <= code <= _SURROGATE + 0xFF:
        code -= _SURROGATE
        return f"\\x{code:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(lines: Iterable[str]) -> str:
    """Return lines of a tool in one, each with a bar before it, which says that they are not lvpack's own words."""
    return " ".join(f"| {printable(line.strip())}" for line in lines)
