from collections.abc import Generator

import pytest

from lvpack_agent.image import checksums as streams


@pytest.mark.starts_processes
@pytest.mark.parametrize("command", [[], ["cat"]])
def test_a_sink_that_fails_closes_the_source(command: list[str]) -> None:
    closed: list[bool] = []

    def source() -> Generator[bytes]:
        try:
            while True:
                yield bytes(streams.BLOCK)
        finally:
            closed.append(True)

    def sink(data: bytes) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        streams.pump(command, streams.tapped(source()), sink)
    assert closed == [True]


@pytest.mark.parametrize("size", [0, 1, streams.BLOCK - 1, streams.BLOCK, 2 * streams.BLOCK + 5])
def test_zeros_are_told_from_data(size: int) -> None:
    assert streams.is_zero(bytes(size)) and streams.is_zero(memoryview(bytearray(size)))
    for at in {0, size // 2, size - 1} if size else ():
        data = bytearray(size)
        data[at] = 1
        assert not streams.is_zero(data)
