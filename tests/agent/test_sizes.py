import pytest

from lvpack_agent.sizes import GIB, MIB, human, human_time, parse_size, parse_time


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64M", 64 * MIB), ("1.5GiB", 3 * GIB // 2)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_human() -> None:
    assert [human(n) for n in (1, 1536, 12 * GIB)] == ["1 B", "1.50 KiB", "12.0 GiB"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("90s", 90), ("90", 90), ("2h", 7200), ("0", 0), ("0m", 0)]
)
def test_times_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1m", "1.5h", "1d", "10 m", "٣m", "9" * 400])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (600, "10 min"), (630, "10 min 30 s"), (7500, "2 h 5 min")]
)
def test_times_are_said_as_people_read_them(seconds: float, text: str) -> None:
    assert human_time(seconds) == text
