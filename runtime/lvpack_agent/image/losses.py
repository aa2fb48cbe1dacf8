"""What of a source could not be read, and is zeros in an image set: in the manifest, in bad-sectors.txt, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvpack_agent.layout.spots import FREE

BAD_SECTORS = "bad-sectors.txt"
# So many files are named in a sentence.
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """sectors of a source disk (its path) from sector on, of the disk's logical size, that are zeros in the image.

    volume is the LV or partition for people, offset the byte in it. file is its path in that volume, or what else is
    there, in parentheses; "" if that cannot be told.
    """

    disk: str
    sector: int
    sectors: int
    volume: str
    offset: int
    file: str = ""


def render(losses: Sequence[Loss], sector_sizes: Mapping[str, int]) -> str:
    """Return bad-sectors.txt; sector_sizes has the bytes of a sector by the path of a disk."""
    sizes = ", ".join(f"{path}: {size}" for path, size in sector_sizes.items())
    head = (
        "# These sectors could not be read. In the image they are zeros, and what was in them is lost to it.\n"
        f"# Columns, with a tab between: disk, first sector, sectors (bytes of a sector: {sizes}), volume, byte in\n"
        "# the volume, file in the volume (in parentheses: no file; nothing: it cannot be told).\n"
    )
    rows = (
        "\t".join((loss.disk, str(loss.sector), str(loss.sectors), loss.volume, str(loss.offset), loss.file))
        for loss in losses
    )
    return head + "".join(f"{row}\n" for row in rows)


def summary(losses: Sequence[Loss]) -> str:
    """Return a sentence without its end that nobody can overlook; "" if nothing is lost but free space."""
    losses = [loss for loss in losses if loss.file != FREE]
    if not losses:
        return ""
    count = sum(loss.sectors for loss in losses)
    disks = " and ".join(dict.fromkeys(loss.disk for loss in losses))
    where = list(dict.fromkeys(f"{loss.volume}: {loss.file}" if loss.file else loss.volume for loss in losses))
    more = f" and {len(where) - NAMED} more" if len(where) > NAMED else ""
    return (
        f"DATA IS MISSING: {count:,} sector{'s' if count > 1 else ''} of {disks} could not be read, and "
        f"{'are' if count > 1 else 'is'} zeros in the image ({', '.join(where[:NAMED])}{more}); {BAD_SECTORS} lists all"
    )


def doubt(losses: Sequence[Loss], before: Sequence[object], errors: Sequence[object]) -> str:
    """Return a warning of read errors that have cost at most free space; "" if there were none.

    errors are all, in words when printed; before are those that were there before the image was begun: tools met them.
    """
    if not errors:
        return ""
    if losses:
        what = ": only free space could not be read"
    elif before:
        what = ", before the image was begun: what the tool that met it made of that is not known"
    else:
        what = " at first: all was read in the end"
    return f"{errors[-1]}{what}, but the disk may be about to fail (dmesg)"
