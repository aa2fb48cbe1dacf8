from collections.abc import Generator

import pytest

from lvpack_agent import pipes


@pytest.mark.starts_processes
@pytest.mark.parametrize("command", [[], ["cat"]])
def test_a_sink_that_fails_closes_the_source(command: list[str]) -> None:
    closed: list[bool] = []

    def source() -> Generator[bytes]:
        try:
            while True:
                yield bytes(pipes.BLOCK)
        finally:
            closed.append(True)

    def sink(data: bytes) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        pipes.pump(command, pipes.tapped(source()), sink)
    assert closed == [True]


@pytest.mark.parametrize("size", [0, 1, pipes.BLOCK - 1, pipes.BLOCK, 2 * pipes.BLOCK + 5])
def test_zeros_are_told_from_data(size: int) -> None:
    assert pipes.is_zero(bytes(size)) and pipes.is_zero(memoryview(bytearray(size)))
    for at in {0, size // 2, size - 1} if size else ():
        data = bytearray(size)
        data[at] = 1
        assert not pipes.is_zero(data)
