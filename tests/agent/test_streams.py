from collections.abc import Generator

import pytest

from lvpack_agent import streams


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
