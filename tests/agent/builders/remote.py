"""What shares that are no folders have in common, whatever their server is."""

from pathlib import Path

import pytest

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image.write import Writer
from lvpack_agent.shares.share import Share
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import SET


def begin_a_set_that_fails(share: Share, size: int = MIB) -> None:
    """Write size bytes of an image of a set, and fail; Writer removes what there is."""
    with pytest.raises(Failed, match="told so"), Writer(share) as writer:
        folder = writer.begin(SET)
        with share.created(folder / "disk.img") as sink:
            sink(bytes(size))
            raise Failed("told so")


def write_one_name_twice(one: Share, other: Share, taken: Path) -> None:
    """Let two writers begin a set of one name, of which one is refused; then its name is taken by a folder."""
    with pytest.raises(Failed, match="File exists"), Writer(one) as first, Writer(other) as second:
        first.begin(SET)
        with pytest.raises(Refused, match=rf"'{SET}\.partial' exists on the share"):
            second.begin(SET)
        taken.mkdir()  # by somebody who does not look


def write_and_read(share: Share, data: bytes) -> None:
    """Write a file piece by piece, and compare what is read of it, in blocks and a part."""
    with share.created(share.folder / "file") as sink:
        for at in range(0, len(data), 100_000):
            sink(data[at : at + 100_000])
    stored, half = share.source(share.folder / "file"), len(data) // 2
    assert stored.size() == len(data)
    assert b"".join(stored.blocks()) == data
    assert stored.read(half, 70_000) == data[half : half + 70_000]
    with pytest.raises(FileNotFoundError):
        share.source(share.folder / "nothing").size()
