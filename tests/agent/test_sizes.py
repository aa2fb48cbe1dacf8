import pytest

from lvpack_agent.sizes import GIB, MIB, human, parse_size


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64M", 64 * MIB), ("1.5GiB", 3 * GIB // 2)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_human() -> None:
    assert [human(n) for n in (1, 1536, 12 * GIB)] == ["1 B", "1.50 KiB", "12.0 GiB"]
