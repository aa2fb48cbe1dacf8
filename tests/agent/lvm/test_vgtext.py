"""The metadata parser against what LVM wrote for every segment type, against damage, and against its whole grammar.

Much of it is that grammar, as strategies that draw texts.
"""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.lvm.rewrite import rewrite, with_segments
from lvpack_agent.lvm.vgtext import DEEPEST, Assignment, Section, Value, parse, render
from lvpack_agent.plan.compact import compact, moved, truncated
from lvpack_agent.probe.convert import volume_group
from lvpack_agent.sizes import KIB
from tests.agent.builders.layouts import blog_vg
from tests.agent.builders.recordings import reported

DATA = Path(__file__).parents[2] / "data"
# read_text() would make line feeds of carriage returns.
RECORDED = {
    f"{path.parent.name}{path.suffix}": path.read_bytes().decode("utf-8", "surrogateescape")
    for path in [*DATA.rglob("*.vgcfgbackup"), *DATA.rglob("*.metadata")]
}
DAMAGE = re.compile(r"cannot read the LVM metadata: line (\d+): .")
# Far above what this takes, far below what it would take if time grew with the square of the length.
LONG, LONG_SECONDS = 2 << 20, 30.0


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_lvm_wrote_survives(name: str) -> None:
    assert render(parse(RECORDED[name])) == RECORDED[name]


def test_what_lvm_wrote_is_understood() -> None:
    root = parse(RECORDED["blog.vgcfgbackup"])
    assert root.section("vg1").get("extent_size") == 65536
    segment = root.section("vg1").section("logical_volumes").section("root").section("segment2")
    assert segment.get("stripes") == ("pv0", 100)


def set_anew(section: Section) -> Section:
    """Return a section in which every value was set to what it was, so that it is printed anew."""
    for node in section.nodes:
        if isinstance(node, Assignment):
            section = section.with_value(node.key, node.value)
        else:
            section = section.with_section(set_anew(node))
    return section


def values(section: Section) -> list[object]:
    return [
        (node.key, node.value) if isinstance(node, Assignment) else (node.name, values(node)) for node in section.nodes
    ]


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_lvm_wrote_means_the_same_when_printed_anew(name: str) -> None:
    root = parse(RECORDED[name])
    assert values(parse(render(set_anew(root)))) == values(root)


# ---- Damage


def checked(text: str) -> None:
    """Either the text is read and printed to the byte, or it is refused by the one error, which names a line of it."""
    try:
        root = parse(text)
    except Failed as failed:
        assert type(failed) is Failed
        found = DAMAGE.match(failed.message)
        assert found and 1 <= int(found[1]) <= text.count("\n") + 1, failed.message
        assert failed.hint
    else:
        assert render(root) == text


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """What LVM wrote, after one to four accidents."""
    text = RECORDED[draw(st.sampled_from(sorted(RECORDED)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        span = draw(st.sampled_from([1, 1, 7, 80, 1000]))
        mark = draw(st.one_of(st.sampled_from("{}[]=,\"'\\#@\n\r\0 +-.9"), st.characters()))
        text = draw(
            st.sampled_from(
                [
                    text[:at],  # cut off
                    text[at:],
                    text[:at] + mark + text[at + 1 :],  # flipped
                    text[:at] + mark + text[at:],  # inserted
                    text[:at] + text[at + span :],  # lost
                    text[:at] + text[at : at + span] * 2 + text[at + span :],  # doubled
                    _with_line_doubled(text, at),
                    text[:at] + "\0" * span + text[at + span :],  # a hole in a file
                ]
            )
        )
    return text


def _with_line_doubled(text: str, at: int) -> str:
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) + 1
    return text[:end] + text[start:end] + text[end:] if end else text


@given(damaged())
def test_damaged_text_is_read_to_the_byte_or_raises_one_clear_error(text: str) -> None:
    checked(text)


@given(st.text(st.one_of(st.sampled_from("{}[]=,\"'\\#\n ab1.-"), st.characters())))
def test_any_text_is_read_to_the_byte_or_raises_one_clear_error(text: str) -> None:
    checked(text)


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("vg {\n\ta = 1\n", 3, "a section is not closed"),
        ("vg {\n}\n}\n", 3, "a name is missing"),
        ("vg {\n\ta = 1\n\ta = 2\n}\n", 3, "'a' stands twice in one section"),
        ("vg {\n}\nvg {\n}\n", 3, "'vg' stands twice in one section"),
        ("a = [1\n 2]", 2, "',' or ']' is missing in an array"),
        ("a = [1,\n", 2, "a value is missing"),
        ("a\n\n1", 3, "'=' or '{' is missing after 'a'"),
        ('a = 1\nb = "x', 2, "a value is missing"),
        ("a = \n}", 2, "a value is missing"),
        ("a = ٣", 1, "a value is missing"),
        ("a = 1\nb = 9223372036854775808", 2, "a number has more than 64 bits"),
        ("a = " + "9" * 5000, 1, "a number has more than 64 bits"),
        ("a = 1\nb\0 = 1", 2, "there is a character NUL"),
        ("a {\n" * (DEEPEST + 1), DEEPEST + 1, f"sections are more than {DEEPEST} deep"),
    ],
)
def test_the_error_names_the_line_and_the_cause(text: str, line: int, cause: str) -> None:
    with pytest.raises(Failed) as raised:
        parse(text)
    assert raised.value.message == f"cannot read the LVM metadata: line {line}: {cause}"


@pytest.mark.parametrize(
    "text",
    [
        "a {\n",
        "[",
        "a = [",
        '"',
        "'",
        '\\"',
        'a = "\\',
        "#",
        "#\n",
        " ",
        "\n",
        "a",
        "a = 1\n",
        "9",
        "a = [ 1,",
        "}",
        "{",
    ],
)
def test_hostile_text_takes_no_time_that_grows_with_its_square(text: str) -> None:
    begun = time.monotonic()
    checked(text * (LONG // len(text)))
    checked("a = [" + text * (LONG // len(text)))
    assert time.monotonic() - begun < LONG_SECONDS


def test_long_metadata_takes_no_time_that_grows_with_its_square() -> None:
    root = parse(RECORDED["blog.vgcfgbackup"])
    vg = root.section("vg1")
    lvs = vg.section("logical_volumes")
    lv = lvs.section("root")
    many = tuple(replace(lv, name=f"lv{number}") for number in range(LONG // len(render(lv))))
    text = render(root.with_section(vg.with_section(replace(lvs, nodes=many))))
    begun = time.monotonic()
    assert render(parse(text)) == text
    assert time.monotonic() - begun < LONG_SECONDS


def test_missing_sections_and_values_are_named() -> None:
    with pytest.raises(Failed, match="section 'other' is missing in 'the file'"):
        parse("vg {\n}").section("other")
    with pytest.raises(Failed, match="'pe_count' is missing in section 'vg'"):
        parse("vg {\n}").section("vg").with_value("pe_count", 1)


# ---- The grammar

# Escapes of any character, line breaks and what looks like structure; a NUL ends LVM's texts.
STRINGS = st.text(
    st.one_of(st.sampled_from("\"\\\n\t#{}[]=,'"), st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    max_size=12,
)
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
# As many digits as LVM prints.
FLOATS = st.integers(-(10**12), 10**12).map(lambda n: n / 10**6)
SCALARS = st.one_of(INTEGERS, FLOATS, STRINGS)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4).map(tuple))
NAMES = st.from_regex(r"[a-zA-Z0-9+_.-]{1,12}", fullmatch=True)
TREES = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(VALUES, inner), max_size=4),
)
SPACES = st.text(" \t\n\r\f\v", max_size=3)
COMMENTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), max_size=8).map("#{}\n".format)
TRIVIA = st.lists(st.one_of(SPACES, COMMENTS), max_size=3).map("".join)


@st.composite
def written(draw: st.DrawFn, tree: dict[str, object]) -> str:
    """A tree as text, with white space and comments wherever the grammar has room for them."""

    def scalar(value: object) -> str:
        if isinstance(value, str):
            return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    text = ""
    for name, value in tree.items():
        text += draw(TRIVIA) + name + draw(TRIVIA)
        if isinstance(value, dict):
            text += "{" + draw(written(value)) + "}"
        elif isinstance(value, tuple):
            items = [draw(TRIVIA) + scalar(item) + draw(TRIVIA) for item in value]
            text += "=" + draw(TRIVIA) + "[" + ",".join(items) + draw(TRIVIA) + "]"
        else:
            text += "=" + draw(TRIVIA) + scalar(value)
        # Without a space the next name would go on where this value ended.
        text += draw(st.sampled_from(" \n\t"))
    return text + draw(TRIVIA)


def as_tree(section: Section) -> dict[str, object]:
    return {
        node.key if isinstance(node, Assignment) else node.name: node.value
        if isinstance(node, Assignment)
        else as_tree(node)
        for node in section.nodes
    }


@given(TREES, st.data())
def test_whatever_the_grammar_allows_is_read_and_survives(tree: dict[str, object], data: st.DataObject) -> None:
    text = data.draw(written(tree))
    root = parse(text)
    assert render(root) == text
    assert as_tree(root) == tree


@given(VALUES, VALUES)
def test_a_value_that_is_set_is_the_value_that_is_read(old: Value, new: Value) -> None:
    root = parse(render(parse("vg {\n\tkey = 1\t# one\n\tother = 2\n}\n").section("vg").with_value("key", old)))
    again = parse(render(root.section("vg").with_value("key", new)))
    assert again.section("vg").get("key") == new
    assert render(again).endswith("\t# one\n\tother = 2\n}")


# ---- Rewriting


def test_nothing_but_numbers_changes_when_rewritten(blog: Path) -> None:
    text = RECORDED["blog.vgcfgbackup"]
    vg = blog_vg(blog)
    packed = parse(rewrite(text, moved(vg, compact(vg)))).section("vg1")
    assert packed.get("extent_size") == 65536
    lv = packed.section("logical_volumes").section("root")
    assert lv.get("segment_count") == 2
    assert lv.section("segment1").get("stripe_count") == 1
    assert lv.section("segment1").get("stripes") == ("pv0", 0)
    assert lv.section("segment1").get("extent_count") == 32
    used = 0
    for section in packed.section("logical_volumes").sections():
        for segment in section.sections():
            count, stripes = segment.get("extent_count"), segment.get("stripes")
            assert isinstance(count, int) and isinstance(stripes, tuple)
            assert isinstance(stripes[1], int) and stripes[1] + count <= 160
            used += count
    assert used == 160


def test_segments_that_were_cut_off_come_back_as_they_were() -> None:
    former, found = RECORDED["striped.vgcfgbackup"], reported("striped")
    vg = volume_group(found, {pv.device: (number, 0) for number, pv in enumerate(found.pvs)}, {})
    [lv] = vg.lvs
    # The recording is older than the field.
    first, second = replace(lv.segments[0], stripe_size=64 * KIB), lv.segments[1]
    lv = replace(lv, segments=(first, second))
    vg = replace(vg, lvs=(lv,))
    # Of stripes and linear segments, and of stripes of two sizes, each is again what it was.
    wide = replace(first, le=19, count=4, stripe_size=128 * KIB)
    longer = replace(vg, lvs=(replace(lv, segments=(*lv.segments, wide)),))
    current = with_segments(former, replace(vg, lvs=(truncated(lv, 16),)), former)
    assert "segment2" not in current
    assert as_tree(parse(with_segments(current, vg, former))) == as_tree(parse(former))
    fast = parse(with_segments(current, longer, former)).section("striped").section("logical_volumes")
    sizes = [fast.section("fast").section(f"segment{number}").get("stripe_size") for number in (1, 3)]
    assert sizes == [128, 256]
