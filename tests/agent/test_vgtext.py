from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent import metadata
from lvpack_agent.errors import Failed
from lvpack_agent.vgtext import parse, render


def test_what_lvm_wrote_survives(blog: Path) -> None:
    text = (blog / "vg1.vgcfgbackup").read_text()
    root = parse(text)
    assert render(root) == text
    assert root.section("vg1").get("extent_size") == 65536
    segment = root.section("vg1").section("logical_volumes").section("root").section("segment2")
    assert segment.get("stripes") == ("pv0", 100)


SCALARS = st.one_of(st.integers(), st.text(st.characters(blacklist_categories=["Cs"]), max_size=12))


@given(st.recursive(st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), lambda c: st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_.+-]{0,8}", fullmatch=True), c, max_size=4), max_leaves=12))  # fmt: skip
def test_any_tree_survives(tree: object) -> None:
    def write(value: object, depth: int) -> str:
        pad = "\t" * depth
        if isinstance(value, dict):
            return "".join(
                f"{pad}{k} {{\t# {k}\n{write(v, depth + 1)}{pad}}}\n" if isinstance(v, dict)
                else f"{pad}{k} = {write(v, 0)}  # comment\n"
                for k, v in value.items()
            )  # fmt: skip
        if isinstance(value, list):
            return "[" + ",\n ".join(write(v, 0) for v in value) + "]"
        if isinstance(value, str):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return str(value)

    text = write(tree if isinstance(tree, dict) else {"key": tree}, 0)
    assert render(parse(text)) == text


@given(st.data())
def test_damaged_text_raises_one_clear_error(data: st.DataObject) -> None:
    text = (Path(__file__).parents[1] / "data/blog/vg1.vgcfgbackup").read_text()
    cut = data.draw(st.integers(0, len(text) - 1))
    try:
        parse(text[:cut] + data.draw(st.sampled_from(["", "{", "}", "=", "[", '"'])) + text[cut + 1 :])
    except Failed as failed:
        assert "line " in failed.message


def test_missing_and_foreign_sections_are_refused() -> None:
    with pytest.raises(Failed, match="missing"):
        parse("vg {\n}").section("other")


def test_nothing_but_numbers_changes_when_rewritten(blog: Path) -> None:
    from lvpack_agent.compact import compact, moved
    from tests.agent.test_plan import blog_vg

    text = (blog / "vg1.vgcfgbackup").read_text()
    vg = blog_vg(blog)
    packed = parse(metadata.rewrite(text, moved(vg, compact(vg)))).section("vg1")
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
