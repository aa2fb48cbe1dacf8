"""Where power cuts fall: the kinds of markers take turns, and a disk that has gone on is not cut where it was."""

from collections import Counter
from itertools import accumulate
from random import Random

from lab.markers import RESULT, Marker, durations
from lab.rotation import REACH, Rotation

STEPS = (
    ("share", 1.0),
    ("probe", 2.0),
    ("shrink", 0.5),
    ("shrink: resize", 4.0),
    ("shrink: merge", 8.0),
    ("shrink: resize", 6.0),
    ("shrink: merge", 10.0),
    ("compact", 0.25),
    ("compact: move", 3.0),
    (RESULT, 0.0),
)
TIMES = (0.0, *accumulate(seconds for _, seconds in STEPS))
MARKERS = [Marker(kind=kind, line=kind, at=at) for (kind, _), at in zip(STEPS, TIMES, strict=False)]
KINDS = {kind for kind, _ in STEPS}


def test_durations() -> None:
    assert durations(MARKERS)["shrink: merge"] == [8.0, 10.0]
    assert durations(MARKERS)[RESULT] == [0.0]


def test_every_kind_has_its_turn() -> None:
    rotation = Rotation(MARKERS, 2 * len(KINDS), Random(1))
    dice = Random(2)
    aims = [rotation.take(Counter(), dice) for _ in range(2 * len(KINDS))]
    assert Counter(aim.kind for aim in aims if aim) == dict.fromkeys(KINDS, 2)
    assert rotation.take(Counter(), dice) is None


def test_delay_reaches_to_the_next_marker() -> None:
    rotation = Rotation(MARKERS, 1000, Random(1))
    dice = Random(2)
    merges = [aim for _ in range(900) if (aim := rotation.take(Counter(), dice)) and aim.kind == "shrink: merge"]
    for skip, seconds in enumerate([8.0, 10.0]):
        delays = [aim.delay for aim in merges if aim.skip == skip]
        assert 0.9 * seconds < max(delays) <= REACH * seconds
        assert min(delays) < 0.2 * seconds


def test_later_boot_is_cut_where_it_can_be() -> None:
    rotation = Rotation(MARKERS, 1000, Random(1))
    dice = Random(2)
    counts = Counter(["share", "probe", "shrink", "shrink: resize", "shrink: merge"])
    aims = [rotation.take(counts, dice) for _ in range(200)]
    assert {aim.kind for aim in aims if aim} == KINDS - {"shrink"}
    assert {aim.skip for aim in aims if aim and aim.kind == "shrink: merge"} == {0}
    assert max(aim.delay for aim in aims if aim and aim.kind == "shrink: merge") > 8 * REACH


def test_cut_that_was_not_made_comes_again() -> None:
    rotation = Rotation(MARKERS, 1, Random(1))
    aim = rotation.take(Counter(), Random(2))
    assert aim
    rotation.put_back(aim, soon=True)
    again = rotation.take(Counter(), Random(2))
    assert again and again.kind == aim.kind


def test_kinds_of_resumed_boots_are_learnt() -> None:
    rotation = Rotation(MARKERS, 100, Random(1))
    rotation.learn([Marker(kind="resume", line="== resume", at=1.0), Marker(kind="shrink", line="== shrink", at=3.0)])
    dice = Random(2)
    assert "resume" not in {aim.kind for _ in range(30) if (aim := rotation.take(Counter(), dice))}
    later = [rotation.take(Counter(["shrink"]), dice) for _ in range(30)]
    assert "resume" in {aim.kind for aim in later if aim}
