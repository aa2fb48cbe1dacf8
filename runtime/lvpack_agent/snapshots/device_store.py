"""A copy-on-write store on a scratch device, with a label that says whose it is."""

import os
import secrets
from pathlib import Path

from lvpack_agent.devices import dmsetup, emptiness
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Disagreement, Refused
from lvpack_agent.sizes import KIB
from lvpack_agent.snapshots.scratch_label import FREE, LABEL_SIZE, Label, read_label, unwritable, write_label
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo


class DeviceStore:
    """A Keeper of one store, on a scratch device that was empty.

    A label at the device's start says whose store it is: owner is the name of the run's journal folder, or FREE if no
    later boot will ask for the store.
    """

    def __init__(self, device: BlockDevice, owner: str) -> None:
        self._device, self._owner = device, owner
        self._checked = False
        self.place = f"scratch device {device.path}"

    def room(self) -> int:
        """Return how many bytes a store can take on it."""
        return self._device.size - LABEL_SIZE

    def fresh(self, origin: int, undo: Undo) -> Store:
        """Make an empty store of all the room there is, whatever origin is; the one before it is gone then."""
        self._refuse_others()
        token = secrets.token_hex(8)
        write_label(self._device.path, Label(owner=self._owner, token=token))
        store = self._mapped(token, undo)
        try:
            with Path(store.device).open("r+b") as file:  # a header of an older store must not be taken for this one's
                file.write(bytes(64 * KIB))
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self._device.path, error) from error
        return store

    def again(self, token: str, undo: Undo) -> Store:
        """Open the store with that token as an earlier boot left it. Raises Disagreement if it is not there."""
        if read_label(self._device.path) != Label(owner=self._owner, token=token):
            raise Disagreement(
                f"cannot go on: scratch device '{self._device.path}' does not hold the store that is being merged",
                hint="attach the device that was used, or name it with lvpack.scratch=. Do not start the server",
            )
        return self._mapped(token, undo)

    def drop(self, token: str) -> None:
        """Do nothing: the next store overwrites this one."""

    def drop_all(self) -> None:
        """Do nothing: the next store overwrites this one."""

    def release(self) -> None:
        """Label the device as free for any machine, if the label says that it was this owner's."""
        label = read_label(self._device.path)
        if label and label.owner == self._owner:
            write_label(self._device.path, Label(owner=FREE))

    def _mapped(self, token: str, undo: Undo) -> Store:
        size = self.room() // (64 * KIB) * (64 * KIB)
        piece = Linear(device=self._device.path, offset=LABEL_SIZE, size=size)
        device = dmsetup.create("lvpack-scratch", dmsetup.linear_table([piece]), undo)
        return Store(device=device, size=size, place=self.place, token=token)

    def _refuse_others(self) -> None:
        if self._checked:  # by now its own store may look like anything
            return
        path, label = self._device.path, read_label(self._device.path)
        if user := emptiness.what_uses(self._device):
            raise Refused(
                f"cannot use '{path}' as scratch device: it is in use by {user}",
                hint="name another device, or put an end to that use first",
            )
        if label and label.owner in (self._owner, FREE):
            # The label outlives what is made of the device later, if that begins after it, as an array of md does. The
            # bytes of an old store are no signature where wipefs looks for one.
            held = emptiness.what_is_known(self._device)
        else:
            held = f"the store of an unfinished run of {label.owner}" if label else emptiness.what_holds(self._device)
        if held:
            raise Refused(
                f"cannot use '{path}' as scratch device: it is not empty, it holds {held}",
                hint="name an empty device, or wipe it with `wipefs --all` and `blkdiscard` if nothing on it is needed",
            )
        self._checked = True


def scratch_device(
    all_disks: tuple[BlockDevice, ...], path: str, sources: tuple[BlockDevice, ...], owner: str
) -> DeviceStore:
    """Return what keeps a store on the device that lvpack.scratch names by its path.

    Raises Refused if this machine has no such device, or it is on one of the sources.
    """
    real = str(Path(path).resolve())
    found = [(disk, part) for disk in all_disks for part in (disk, *disk.parts) if part.path == real]
    if not found:
        raise Refused(
            f"cannot find scratch device '{path}': this machine has no such disk or partition",
            hint="the disks are " + "; ".join(d.describe() for d in all_disks),
        )
    [(disk, device)] = found
    if disk.path in [source.path for source in sources]:
        raise Refused(
            f"cannot use '{path}' as scratch device: it is on the disk that is packed", hint="name another disk"
        )
    return DeviceStore(device, owner)
