"""A claim to a journal folder on the share: one boot of one machine holds it, and notices when it has lost it.

Machines that are clones of one template may have the same VG and nothing else that tells their disks apart. So the
folder goes to whoever makes the next file `claim-N` in it: exclusive creation is atomic on NFS (RFC 1813, 3.3.8; RFC
8881, 18.16). The holder rewrites its claim every few seconds. If it does so no longer, its boot was cut off, and
another machine may take the folder over: it makes the next claim and removes the old one. Should the former holder
still live, it finds its claim gone before its next step, and stops.
"""

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.backup.claim_holder import patience_of_another, this_machine
from lvpack_agent.errors import Disagreement, Failed, LvpackError, Refused
from lvpack_agent.shares.share import server_time
from lvpack_agent.undo import Undo

PREFIX = "claim-"
_NAME = re.compile(PREFIX + r"\d{6,}")
BEAT_SECONDS = 5.0
# A claim of this very machine that was not rewritten for SILENT_SECONDS is given up: the server may just be busy for
# less. After a power cut most of this passes while the machine boots. One of another machine is given up when the
# patience is over, too, with which that waits for a share that does not answer: it may live, cut off from the server.
# In any case a claim is watched for WATCH_SECONDS: while the server was away, a holder that still lives could not
# rewrite it.
SILENT_SECONDS, WATCH_SECONDS = 45.0, 25.0
_POLL_SECONDS = 1.0
# A look at a claim that takes so long is of a share that did not answer. When it answers again, another machine comes
# through to it within BACK_SECONDS: NFS 3 tries to connect at least each five minutes (kernel: net/sunrpc/xprtsock.c,
# XS_TCP_MAX_REEST_TO), NFS 4 at least each half of a lease.
_AWAY_SECONDS, BACK_SECONDS = 10.0, 330.0
# Without any patience a share that does not answer is noticed within this time.
_NOTICE_SECONDS = 10.0
# What a claim ends with; both are as long, so that one overwrites the other.
HELD, RELEASED = "held    \n", "released\n"
_LONGEST, _ATTEMPTS = 1000, 5


class Claim:
    """A claim of this boot to a folder; once make() has made it, a thread rewrites it until release().

    patience, in seconds: for so long this boot may live without rewriting it.
    """

    def __init__(self, folder: Path, number: int, patience: float = 0) -> None:
        self._path, self._number = _path(folder, number), number
        self._text = f"{secrets.token_hex(16)} {this_machine()} {max(patience, _NOTICE_SECONDS):06.0f}"
        self._beats = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)

    def make(self) -> None:
        """Make the claim. Raises FileExistsError if another machine has made it, OSError as the share does."""
        fd = guarded.create(self._path, mode=0o600)
        try:
            self._write(fd)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            raise
        finally:
            os.close(fd)
        for number in _numbers(self._path.parent):
            if number > self._number:  # this one had been made before, and was over
                self._path.unlink()
                raise FileExistsError
            if number < self._number:
                _path(self._path.parent, number).unlink(missing_ok=True)
        self._thread.start()

    def check(self) -> None:
        """Raise Disagreement if the folder is another's, Failed if the share does not tell, or has lost the claim."""
        try:
            text, newest = _read(self._path) or "", max(_numbers(self._path.parent), default=0)
        except OSError as error:
            raise Failed(
                f"cannot read '{self._path.name}' of the journal on the share: {error.strerror}",
                hint="check the server and the network",
            ) from error
        if not text and not newest:
            raise Failed(
                f"cannot go on: the file server has lost '{self._path.name}' of journal '{self._path.parent.name}'",
                hint="see to the server, export the share with sync, and boot with the same options again",
            )
        if not text.startswith(self._text) or newest > self._number:
            raise Disagreement(
                f"cannot go on: the journal folder '{self._path.parent.name}' was taken over by another machine",
                hint="it has a clone of this disk, with the same VG and the same serial number, or was given this "
                "disk: let only one of them run, and boot the machine whose journal it is with the same options again",
            )

    def release(self) -> None:
        """Say in the claim that it is over, so that the next boot need not wait.

        If nothing else is in the folder, both are removed. Never raises.
        """
        self._over.set()
        self._thread.join()
        with suppress(LvpackError, OSError):  # whatever keeps it from that has stopped the run before
            self.check()
            if [path.name for path in self._path.parent.iterdir()] == [self._path.name]:
                self._path.unlink()
                self._path.parent.rmdir()
            else:
                self._rewrite(RELEASED)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with suppress(OSError):
                self._rewrite()

    def _rewrite(self, end: str = HELD) -> None:
        # Not created again: when it is gone, or another one stands there, the folder is somebody else's.
        fd = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if os.pread(fd, len(self._text), 0) == self._text.encode():
                self._write(fd, end)
        finally:
            os.close(fd)

    def _write(self, fd: int, end: str = HELD) -> None:
        self._beats += 1
        os.pwrite(fd, f"{self._text} {self._beats:012} {end}".encode(), 0)
        os.fsync(fd)


@contextmanager
def held(folder: Path, say: Callable[[str], None], patience: float = 0) -> Iterator[Claim]:
    """Hold a journal folder until the end; it is made if it does not exist. say gets a line if this takes a while.

    patience, in seconds, is how long this run waits for a share that does not answer.

    Raises Refused if another machine works with it, Failed if the share does not take a claim.
    """
    try:
        claim = _made(folder, say, patience)
    except OSError as error:
        raise Failed(
            f"cannot write the journal to the share: {error.strerror}",
            hint="check the space on the share and that root of this machine may write. If an in-place run of it is "
            "not finished, do not start its own system: boot lvpack again with the same options",
        ) from error
    with Undo() as undo:
        undo.callback(claim.release)
        yield claim


def _made(folder: Path, say: Callable[[str], None], patience: float) -> Claim:
    for _ in range(_ATTEMPTS):
        with suppress(FileExistsError):
            guarded.make_folder(folder, 0o700)
        try:
            guarded.keep_private(folder)  # older versions let everybody in
            newest = max(_numbers(folder), default=0)
            claim = Claim(folder, newest + 1, patience)
            if newest:
                _wait_for_silence(folder, newest, say)
            claim.make()
        except FileExistsError:
            raise _busy(folder) from None
        except FileNotFoundError:
            time.sleep(_POLL_SECONDS)  # a run that left nothing has just removed its claim, or the whole folder
        else:
            return claim
    raise Failed(
        f"cannot write the journal to the share: the server has '{folder.name}' and does not find what is in it",
        hint="a server may go on with a folder that was replaced behind its back: restart it, and boot again",
    )


def _wait_for_silence(folder: Path, number: int, say: Callable[[str], None]) -> None:
    """Return when a claim is known to be of a boot that is over.

    Raises Refused if it is rewritten, FileNotFoundError if it is gone.
    """
    path = _path(folder, number)
    text = _read(path)  # empty: the power went while it was made
    if text and text.endswith(RELEASED):
        return
    silent = max(0.0, server_time(folder) - path.stat().st_mtime)
    patience = patience_of_another(text or "")
    watch = BACK_SECONDS if patience else WATCH_SECONDS
    left = max(watch, SILENT_SECONDS + patience - silent)
    another = f". Another one has made {path.name}: if that is off, remove the file, and this one begins"
    say(
        f"journal: '{folder.name}' was not given back; wait {left:.0f} s to see whether a machine works with it"
        + (another if patience else "")
    )
    while left > 0:
        begun = time.monotonic()
        time.sleep(_POLL_SECONDS)
        found = _read(path)
        took = time.monotonic() - begun
        left = left - took if took < _AWAY_SECONDS else max(left, watch)
        if found is None:
            raise FileNotFoundError
        if found.endswith(RELEASED):
            return
        if found != text:
            raise _busy(folder)


def _busy(folder: Path) -> Refused:
    return Refused(
        f"cannot work in place: another machine is at work with the journal '{folder.name}' on the share",
        hint="its disk has the same VG, and nothing tells it from this one, so one is a clone of the other: let it "
        "finish, then boot this one again; or use another share, or give the disk of this machine a serial number",
    )


def _numbers(folder: Path) -> list[int]:
    return [int(p.name.removeprefix(PREFIX)) for p in folder.iterdir() if _NAME.fullmatch(p.name)]


def _path(folder: Path, number: int) -> Path:
    return folder / f"{PREFIX}{number:06}"


def _read(path: Path) -> str | None:
    """Return the text of a claim, None if there is none."""
    try:
        fd = guarded.opened(path)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, _LONGEST).decode(errors="replace")
    finally:
        os.close(fd)
