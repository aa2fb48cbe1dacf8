"""Filesystems and swap on LVs, resized; on an overlay or a persistent snapshot, so that the origin stays as it is."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from lvpack_agent.filesystems import dirtimes, ext, swap
from lvpack_agent.filesystems.ext import Repaired
from lvpack_agent.layout.content import Content
from lvpack_agent.sizes import human


def check_filesystem(device: str, name: str, say: Callable[[str], None], tick: Callable[[], None]) -> Repaired:
    """Replay the journal of an ext filesystem, check and repair it; return what was found, in words for people."""
    say(f"check {name}")
    done = ext.repair(device, tick)
    return Repaired(
        corrected=f"{name}: e2fsck corrected: {done.corrected}" if done.corrected else "",
        damage=f"{name}: e2fsck found damage: {done.damage}" if done.damage else "",
    )


def resize_filesystem(
    device: str,
    name: str,
    new: Content,
    folder: Path,
    say: Callable[[str], None],
    tick: Callable[[], None],
) -> list[str]:
    """Give a checked ext filesystem the size new.size; return findings: in words, what else has changed.

    name is for people, folder a place to mount the filesystem at; tick is called each second.
    """
    findings: list[str] = []
    block = ext.read(device)
    size = block.block_size * block.block_count
    if new.size != size:
        say(f"{'shrink' if new.size < size else 'grow'} {name} from {human(size)} to {human(new.size)}")
        with ExitStack() as times:
            if block.has_inodes_beyond(new.size):
                say("the times of its directories are kept")
                times.enter_context(dirtimes.kept(device, folder, findings))
            ext.resize(device, new.size, tick)
    return [f"{name}: {finding}" for finding in findings]


def make_swap(device: str, new: Content) -> None:
    """Make a swap area anew, with its UUID, label and page size."""
    swap.make(device, size=new.size, page_size=new.block_size, uuid=new.uuid, label=new.label)
