from lvpack_agent.image.pacing import FIRST, HIGHEST, INTERVAL_SECONDS, LOWEST, Pace


def paced(reading: float, compressing: float, writing: float, intervals: int = 20) -> Pace:
    """Let each of an interval's parts take that share of it, on two processors."""
    pace, now = Pace(workers=2), 1.0
    pace.look(now)
    for _ in range(intervals):
        pace.level()
        now += INTERVAL_SECONDS
        pace.read(reading * INTERVAL_SECONDS)
        pace.compressed(2 * compressing * INTERVAL_SECONDS)
        pace.wrote(writing * INTERVAL_SECONDS)
        pace.look(now)
    return pace


def test_a_slow_share_has_time_for_a_higher_level() -> None:
    pace = paced(0.1, 0.3, 1.0)
    assert pace.level() == HIGHEST
    assert "the share was slowest" in pace.summary() and f"levels {FIRST} to {HIGHEST}" in pace.summary()


def test_slow_processors_get_a_lower_one() -> None:
    pace = paced(0.1, 1.0, 0.2)
    assert pace.level() == LOWEST
    assert "the processors were slowest" in pace.summary()


def test_a_writer_that_lvpack_rate_holds_is_no_slow_share() -> None:
    held = [100.0]  # by the disk before
    pace, now = Pace(workers=2, held=lambda: held[0]), 1.0
    pace.look(now)
    for _ in range(20):
        pace.level()
        now += INTERVAL_SECONDS
        held[0] += 0.9 * INTERVAL_SECONDS
        pace.read(0.2 * INTERVAL_SECONDS)
        pace.wrote(INTERVAL_SECONDS)
        pace.look(now)
    assert pace.level() == HIGHEST, "what compresses better needs less of the rate"
    assert "lvpack.rate was slowest" in pace.summary()


def test_balance_stays() -> None:
    assert paced(0.9, 0.8, 0.2).level() == FIRST


def test_a_level_that_was_asked_for_stays() -> None:
    pace = Pace(workers=2, fixed=7)
    pace.look(1)
    pace.level()
    pace.wrote(5)
    pace.look(6)
    assert pace.level() == 7
    assert pace.summary() == "zstd level 7, 2 at a time; the share was slowest"
