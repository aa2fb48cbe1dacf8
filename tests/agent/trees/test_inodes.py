"""The flags of files on XFS: the page about them has the table that the code has."""

from pathlib import Path

from lvpack_agent.trees import inodes

PAGE = Path(__file__).parents[3] / "docs/xfs.md"


def test_the_page_has_the_table_of_flags() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| flag ")]
    assert rows == [
        f"| flag {flag.name} ({flag.letter}) | {flag.fate} | {flag.why} |".replace("|  |", "| |")
        for flag in inodes.FLAGS
    ]


def test_no_two_flags_are_the_same() -> None:
    for values in zip(*((flag.bit, flag.name, flag.letter) for flag in inodes.FLAGS), strict=True):
        assert len({*values}) == len(inodes.FLAGS)


def test_what_is_lost_is_named() -> None:
    was = inodes.Attributes(flags=0x1 | 0x8 | 0x100000, hint=5)
    assert was.kept == inodes.Attributes(flags=0x8, hint=5)
    assert was.lost(was.kept) == ["the flag realtime", "the flag 0x100000"]
    assert was.lost(inodes.Attributes(flags=0x8, project=3)) == [
        "the flag realtime",
        "the flag 0x100000",
        "the hint extsize",
        "the project",
    ]


def test_a_flag_that_fallocate_sets_may_be_new_and_not_lost() -> None:
    without, having = inodes.Attributes(), inodes.Attributes(flags=inodes.PREALLOC)
    assert without.lost(having) == []
    assert having.lost(without) == ["the flag prealloc"]
