"""A share that does not answer: it is waited for, people are told, and at the end of lvpack.patience it is given up.

A share by NFS is mounted hard: what reads and writes it waits as long as the server is away, and goes on where it was
when the server is back, also when that was restarted (nfs(5)); by SMB the agent asks again (smb.py). So no error comes
of a pause, and no snapshot whose store is on the share is lost by one. The deadline is ours: when it is over, the
kernel is told to give the server up, and every call that waits, or that comes later, fails (how, the module of the
scheme says).
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.progress import clock
from lvpack_agent.session import Session
from lvpack_agent.sizes import human_time

# A server is asked each ASK_SECONDS. If nothing was answered for NOTICE_SECONDS, it is out; people hear of it then and
# each SAY_SECONDS. A pause of WORTH_A_WARNING seconds stands in the result, and any while a store is on the share.
ASK_SECONDS, LOOK_SECONDS, NOTICE_SECONDS, SAY_SECONDS, WORTH_A_WARNING = 2.0, 1.0, 10.0, 30.0, 60.0

MOUNTSTATS = Path("/proc/self/mountstats")


class Silence:
    """What is known of a server that answers or not; every time is of one clock that only goes forward."""

    def __init__(self, name: str, patience: float, now: float) -> None:
        self._name, self._patience = name, patience
        self._answered = self._said = now
        self.is_out = self.is_given_up = False

    def answered(self, now: float) -> str:
        """Note an answer; return what is to be said, "" if nothing."""
        if self.is_given_up:
            return ""
        silent, was_out = now - self._answered, self.is_out
        self._answered, self.is_out = now, False
        if not was_out:
            return ""
        return f"share: {self._name} answers again after {clock(silent)}; the run goes on"

    def silent_for(self, now: float) -> float:
        """Return the seconds since the last answer."""
        return now - self._answered

    def look(self, now: float) -> str:
        """See whether the server is out, or out for too long; return what is to be said, "" if nothing."""
        silent = self.silent_for(now)
        if silent < NOTICE_SECONDS or self.is_given_up:
            return ""
        if silent >= max(self._patience, NOTICE_SECONDS):
            return self.given_up(now)
        if self.is_out and now - self._said < SAY_SECONDS:
            return ""
        self.is_out, self._said = True, now
        return (
            f"share: {self._name} does not answer; the run waits for it, {clock(self._patience - silent)} left of "
            "lvpack.patience"
        )

    def given_up(self, now: float) -> str:
        """Give the server up; return what is to be said."""
        if self.is_given_up:
            return ""
        self.is_out = self.is_given_up = True
        return f"share: {self._name} did not answer for {human_time(self.silent_for(now))}; it is given up"


class Watch:
    """Watches a mounted share while the context lasts. give_up lets all calls to it fail, and waits for nothing.

    passing: errors that say that the server is away.

    While the share is out, the file places.AWAY exists: clocks of others stand still. session.outages counts.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        give_up: Callable[[], None],
        patience: float,
        session: Session,
        passing: frozenset[int] = frozenset(),
    ) -> None:
        self._folder, self._give_up, self._session, self._passing = folder, give_up, session, passing
        self._silence = Silence(name, patience, time.monotonic())
        self._name, self._given_up = name, 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._done = 0
        # The one that asks is not waited for at the end: the server may never answer it.
        self._threads = [
            threading.Thread(target=loop, name="share", daemon=True) for loop in (self._ask_always, self._look_always)
        ]

    @property
    def is_given_up(self) -> bool:
        """Whether the patience is over: nothing of the share can be read or written any more."""
        return self._silence.is_given_up

    def failure(self) -> Failed:
        """Return the error of a share that was given up."""
        silent = human_time(self._silence.silent_for(self._given_up))
        return Failed(
            f"cannot reach share '{self._name}': it did not answer for {silent}",
            hint="check the server and the network; lvpack.patience=TIME waits longer",
        )

    def __enter__(self) -> "Watch":
        mark(False)  # an agent that was killed may have left it
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._threads[1].join()
        mark(False)

    def _ask_always(self) -> None:
        while not self._ended.wait(ASK_SECONDS):
            try:
                os.statvfs(self._folder)  # the kernel asks the server each time
            except OSError as error:  # one of the server's is an answer
                if error.errno in self._passing:
                    continue
            self._say(self._silence.answered)

    def _look_always(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        if self._silence.silent_for(time.monotonic()) > NOTICE_SECONDS / 2:
            # What asks may stand behind a long queue of writes to a slow server: these count, too.
            with suppress(OSError):
                done = completed(MOUNTSTATS.read_text(errors="replace"), self._folder)
                if done != self._done:
                    self._done = done
                    self._say(self._silence.answered)
        if self._silence.is_out and self._session.is_ending():
            self._say(self._silence.given_up)
        self._say(self._silence.look)

    def _say(self, what: Callable[[float], str]) -> None:
        """Do a step of the silence, and say what came of it."""
        with self._lock:
            before, given_up = self._silence.is_out, self._silence.is_given_up
            now = time.monotonic()
            silent = self._silence.silent_for(now)
            text = what(now)
            out = self._silence.is_out and not self._silence.is_given_up
            if out != before:
                mark(out)
            self._session.outages += bool(out and not before)
        if text:
            self._session.say(text)
        if before and not self._silence.is_out and (silent >= WORTH_A_WARNING or self._session.has_store):
            self._session.warn(
                f"the share did not answer for {human_time(silent)}; the run went on. A server that exports with async "
                "may have lost what it had acknowledged"
            )
        if self._silence.is_given_up and not given_up:
            self._given_up = now
            self._give_up()


def completed(mountstats: str, folder: Path) -> int:
    """Return how many requests to the share at a folder were answered, by the text of /proc/self/mountstats.

    Its form: fs/nfs/super.c and net/sunrpc/stats.c of the kernel; each operation has a line with that number first.
    """
    _, _, rest = mountstats.partition(f" mounted on {folder} with fstype nfs")
    own = rest.partition("\ndevice ")[0].partition("per-op statistics")[2]
    return sum(int(words[1]) for line in own.splitlines() if len(words := line.split()) > 1 and words[0].endswith(":"))


def mark(away: bool) -> None:
    """Let the file places.AWAY exist, or not: clocks that measure others' silence go by it."""
    with suppress(OSError):
        if away:
            places.AWAY.touch()
        else:
            places.AWAY.unlink(missing_ok=True)
