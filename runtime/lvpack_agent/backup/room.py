"""Whether images fit on a share, before they are written: as far as that can be known, and as it is safe to say."""

from lvpack_agent.errors import Refused
from lvpack_agent.shares.share import Share
from lvpack_agent.sizes import human


def doubt(share: Share, most: int, data: int, *, is_exact: bool) -> str:
    """Return a warning if images may not fit on a share that take at most so many bytes; "" if nothing speaks for that.

    data is how much of it is data before it is compressed; is_exact: they take as much as most, as nothing is.

    Raises Refused if it is certain that they do not fit: only on a disk of this machine, where its own kernel counts.
    What a server says may be of another disk, or of one that compresses, or be nothing at all; it stops no run.
    """
    room = share.room()
    if room is None or most <= room:
        return ""
    if is_exact and share.device:
        raise Refused(
            f"cannot write the image set to share '{share.name}': its images take {human(most)}, and there is room for "
            f"{human(room)}",
            hint=f"free {human(most - room)} there, take another share, or compress them (lvpack.compress=auto)",
        )
    size = f"take {human(most)}" if is_exact else f"may take up to {human(most)}, for {human(data)} of data"
    return (
        f"the image set may not fit: share '{share.name}' has room for {human(room)}, as it says, and the images "
        f"{size}. The run goes on, and fails when there is no room left"
    )
