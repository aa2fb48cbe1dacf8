"""A manual page as a value, and how it is written: in the language of man(7), and as plain text."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

# Characters that a typesetter takes for others unless they are named (groff_man_style(7), "Portability").
_NAMES = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    "…": "...",
}
_CODE = re.compile("`([^`]*)`")
_WIDTH = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A term, what stands for its value, and what it means; `…` in texts is set as code."""

    term: str
    text: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section with a title: lines that stay lines, paragraphs, entries, and sections of its own."""

    title: str
    lines: tuple[str, ...] = ()
    paragraphs: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    parts: tuple["Section", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A manual page: NAME(number) and what it is about, in a few words without a full stop."""

    name: str
    number: int
    summary: str
    sections: tuple[Section, ...]

    @property
    def file(self) -> str:
        """The page's file name."""
        return f"{self.name}.{self.number}"


def roff(page: Page) -> str:
    """Return a page in the language of man(7)."""
    head = [f'.TH "{_escaped(page.name.upper())}" "{page.number}" "" "lvpack" "lvpack manual"']
    # No word is hyphenated: most of them are names.
    head += [".nh", ".SH NAME", rf"{_escaped(page.name)} \- {_escaped(page.summary)}"]
    return "\n".join([*head, *(line for section in page.sections for line in _section(section, ".SH"))]) + "\n"


def _section(section: Section, macro: str) -> Iterator[str]:
    yield f'{macro} "{_escaped(section.title)}"'
    if section.lines:
        yield from (".nf", *(rf"\fB{_escaped(line)}\fR" for line in section.lines), ".fi")
    for number, text in enumerate(section.paragraphs):
        yield from ([".PP"] if number else [])
        yield _text(text)
    for entry in section.entries:
        yield ".TP"
        yield rf"\fB{_escaped(entry.term)}\fR" + _value(entry)
        yield _text(entry.text)
    for part in section.parts:
        yield from _section(part, ".SS")


def _value(entry: Entry) -> str:
    space = "" if entry.term.endswith("=") or not entry.value else " "
    return rf"{space}\fI{_escaped(entry.value)}\fR" if entry.value else ""


def _text(text: str) -> str:
    """Return a text for roff, `…` in bold; a line must not begin with a control character."""
    pieces = _CODE.split(text)
    line = "".join(rf"\fB{_escaped(p)}\fR" if n % 2 else _escaped(p) for n, p in enumerate(pieces))
    return rf"\&{line}" if line.startswith(".") else line


def _escaped(text: str) -> str:
    """Return text in which roff sees no more than letters; what is not ASCII by its code point."""
    named = "".join(_NAMES.get(c, c) for c in text)
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in named).replace('"', r"\(dq")


def plain(page: Page) -> str:
    """Return a page as plain text, for machines that have no man(1)."""
    lines = [f"{page.name.upper()}({page.number})", "", "NAME", f"    {page.name} - {page.summary}"]
    for section in page.sections:
        lines += ["", section.title, *_plain(section, "    ")]
    return "\n".join(lines) + "\n"


def _plain(section: Section, indent: str) -> Iterator[str]:
    yield from (f"{indent}{line}" for line in section.lines)
    for number, text in enumerate(section.paragraphs):
        yield from ([""] if number else [])
        yield from _filled(text, indent)
    for number, entry in enumerate(section.entries):
        yield from ([""] if number or section.paragraphs else [])
        space = "" if entry.term.endswith("=") or not entry.value else " "
        yield f"{indent}{entry.term}{space}{entry.value}"
        yield from _filled(entry.text, indent + "    ")
    for number, part in enumerate(section.parts):
        yield from ([""] if number else [])
        yield f"{indent[:-2]}{part.title}"
        yield from _plain(part, indent)


def _filled(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text.replace("`", ""), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
