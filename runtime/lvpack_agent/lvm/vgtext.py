"""LVM's metadata text, read and printed without loss.

The grammar is libdevmapper's (libdm/libdm-config.c): sections `name { … }`, assignments `key = value`, values that are
integers, floats, strings or arrays of these, comments from # to the end of the line. Every node keeps the characters
that stood around it, so that print(parse(text)) == text to the byte; what is replaced is printed in LVM's own style.

Stricter than libdevmapper where two readers could differ: a name that stands twice in a section, a number beyond 64
bits, a character NUL and a section within many others are damage, as LVM writes none of these.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lvpack_agent.errors import Failed

Scalar = int | float | str
Value = Scalar | tuple[Scalar, ...]

# White space and digits are ASCII's, as isspace() and isdigit() have them in the C locale.
_TRIVIA = re.compile(r"(?:\s+|#[^\n]*)*", re.ASCII)
# libdm reads a quoted string as a key as well; LV and tag names use these characters (lvm(8), "valid names").
_KEY = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s#={}\[\],"]+', re.ASCII | re.DOTALL)
_SCALAR = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\'[^\']*\'|[-+]?(?:\d+\.\d*|\.\d+)|[-+]?\d+', re.ASCII | re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# LVM writes five: VG, logical_volumes, LV, segment, and the settings of a cache's policy.
DEEPEST = 32
# strtoll(3), by which libdm reads integers; 20 characters hold the longest.
_INT64 = range(-(1 << 63), 1 << 63)
_INT64_CHARACTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """`key = value`; before is the white space and comments in front, equals the `=` with what surrounds it."""

    before: str
    key: str
    equals: str
    value: Value
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`name { nodes }`; the root has no name and no braces. after stands in front of the closing brace or the end."""

    before: str
    name: str
    opening: str
    nodes: tuple["Node", ...]
    after: str

    def get(self, key: str) -> Value:
        """Return the value of an assignment in this section. Raises Failed if there is none."""
        for node in self.nodes:
            if isinstance(node, Assignment) and node.key == key:
                return node.value
        raise Failed(f"cannot read the LVM metadata: '{key}' is missing in section '{self.name}'")

    def section(self, name: str) -> "Section":
        """Return the section of that name in this one. Raises Failed if there is none."""
        for node in self.sections():
            if node.name == name:
                return node
        raise Failed(f"cannot read the LVM metadata: section '{name}' is missing in '{self.name or 'the file'}'")

    def sections(self) -> Iterator["Section"]:
        """Yield the sections directly in this one."""
        return (node for node in self.nodes if isinstance(node, Section))

    def with_value(self, key: str, value: Value) -> "Section":
        """Return a copy in which the assignment to key, which must exist, has this value."""
        self.get(key)
        return replace(
            self,
            nodes=tuple(
                replace(node, value=value, raw=_print_value(value))
                if isinstance(node, Assignment) and node.key == key
                else node
                for node in self.nodes
            ),
        )

    def without(self, name: str) -> "Section":
        """Return a copy without the section of that name, which must exist."""
        self.section(name)
        return replace(
            self, nodes=tuple(node for node in self.nodes if not (isinstance(node, Section) and node.name == name))
        )

    def with_section(self, section: "Section") -> "Section":
        """Return a copy in which the section of the same name, which must exist, is this one."""
        self.section(section.name)
        return replace(
            self,
            nodes=tuple(
                section if isinstance(node, Section) and node.name == section.name else node for node in self.nodes
            ),
        )


Node = Assignment | Section


def parse(text: str) -> Section:
    """Read metadata text as vgcfgbackup(8) writes it. Raises Failed that names the line if it is not well formed."""
    nodes, after = _Reader(text).nodes(0)
    return Section(before="", name="", opening="", nodes=nodes, after=after)


def render(node: Node) -> str:
    """Return the text of a node; for a parsed and unchanged one the very text that was read."""
    if isinstance(node, Assignment):
        return f"{node.before}{node.key}{node.equals}{node.raw}"
    inner = "".join(render(n) for n in node.nodes) + node.after
    return f"{node.before}{node.name}{node.opening}{inner}}}" if node.name else inner


def _print_value(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_print_value(v) for v in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    # libdm reads no exponent; it prints six digits too.
    return f"{value:f}" if isinstance(value, float) else str(value)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        if "\0" in text:
            self._at = text.index("\0")
            raise self._error("there is a character NUL")

    def nodes(self, depth: int) -> tuple[tuple[Node, ...], str]:
        """Read the nodes of a section, which is within depth others, and what stands before its end."""
        found: dict[str, Node] = {}
        while True:
            before = self._take(_TRIVIA)
            if self._at == len(self._text):
                if depth:
                    raise self._error("a section is not closed")
                return tuple(found.values()), before
            if depth and self._text[self._at] == "}":
                self._at += 1
                return tuple(found.values()), before
            start = self._at
            key = self._take(_KEY, "a name")
            if key in found:
                self._at = start
                raise self._error(f"'{key}' stands twice in one section")
            found[key] = self._node(before, key, depth)

    def _node(self, before: str, key: str, depth: int) -> Node:
        between = self._take(_TRIVIA)
        mark = self._text[self._at : self._at + 1]
        self._at += 1
        if mark == "{":
            if depth == DEEPEST:
                raise self._error(f"sections are more than {DEEPEST} deep")
            nodes, after = self.nodes(depth + 1)
            return Section(before=before, name=key, opening=between + "{", nodes=nodes, after=after)
        if mark == "=":
            equals = between + "=" + self._take(_TRIVIA)
            start = self._at
            value = self._value()
            return Assignment(before=before, key=key, equals=equals, value=value, raw=self._text[start : self._at])
        self._at -= 1
        raise self._error(f"'=' or '{{' is missing after '{key}'")

    def _value(self) -> Value:
        if self._text[self._at : self._at + 1] != "[":
            return self._scalar()
        self._at += 1
        items: list[Scalar] = []
        while True:
            self._take(_TRIVIA)
            if self._text[self._at : self._at + 1] == "]":
                self._at += 1
                return tuple(items)
            items.append(self._scalar())
            self._take(_TRIVIA)
            if self._text[self._at : self._at + 1] == ",":
                self._at += 1
            elif self._text[self._at : self._at + 1] != "]":
                raise self._error("',' or ']' is missing in an array")

    def _scalar(self) -> Scalar:
        raw = self._take(_SCALAR, "a value")
        if raw[0] == '"':
            return _ESCAPED.sub(r"\1", raw[1:-1])
        if raw[0] == "'":
            return raw[1:-1]
        if "." in raw:
            return float(raw)
        if len(raw) > _INT64_CHARACTERS or int(raw) not in _INT64:
            raise self._error("a number has more than 64 bits")
        return int(raw)

    def _take(self, pattern: re.Pattern[str], what: str = "") -> str:
        found = pattern.match(self._text, self._at)
        if not found or (what and not found[0]):
            raise self._error(f"{what} is missing")
        self._at = found.end()
        return found[0]

    def _error(self, cause: str) -> Failed:
        line = self._text.count("\n", 0, self._at) + 1
        return Failed(
            f"cannot read the LVM metadata: line {line}: {cause}", hint="check the VG with vgck and vgcfgbackup"
        )
