"""Waiting for a server that the agent asks itself: people are told, and when lvpack.patience is over it is given up.

It is patience.Watch for a share that is not mounted: who asks says when it was answered, and when it waits.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from lvpack_agent.errors import Failed
from lvpack_agent.session import Session
from lvpack_agent.shares.patience import NOTICE_SECONDS, WORTH_A_WARNING, Silence, mark
from lvpack_agent.sizes import human_time


class Gone(Exception):
    """The connection to the server has ended; what was asked may be asked again by another one."""


def done_once(do: Callable[[], object], losses: Callable[[], object], is_done: Callable[[], bool]) -> None:
    """Do what can be done once only, such as to give a name. Raises OSError as that does.

    losses changes when an answer may be lost: where it is done then, the error of another attempt counts for nothing.
    """
    before = losses()
    try:
        do()
    except OSError:
        if losses() == before:
            raise
        with suppress(OSError):
            if is_done():
                return
        raise


class Waiting:
    """How long a server has been silent; patience in seconds. While it is out, the file places.AWAY exists."""

    def __init__(self, name: str, patience: float, session: Session) -> None:
        self._name, self._session = name, session
        self._silence = Silence(name, patience, time.monotonic())
        # How often a connection has ended in the middle of something.
        self.losses = 0

    def asks(self) -> None:
        """Note that the server is asked something: its silence begins now, if it is not out already.

        Nobody has asked it before: a program was at work, or lvpack.rate has let nothing pass.
        """
        if not self._silence.is_out:
            self._silence.answered(time.monotonic())

    def answered(self) -> None:
        """Note that the server has answered."""
        now = time.monotonic()
        was_out, silent = self._silence.is_out, self._silence.silent_for(now)
        text = self._silence.answered(now)
        if was_out:
            mark(False)
            self._session.say(text)
            if silent >= WORTH_A_WARNING:
                self._session.warn(f"the share did not answer for {human_time(silent)}; the run went on")

    def waits(self) -> None:
        """Note that it has not, yet. Raises Failed if the patience is over.

        A run that was told to end is patient for NOTICE_SECONDS: what it has left at the server is to be removed.
        """
        now = time.monotonic()
        was_out, silent = self._silence.is_out, self._silence.silent_for(now)
        is_late = silent >= NOTICE_SECONDS and self._session.is_ending()
        text = self._silence.given_up(now) if is_late else self._silence.look(now)
        if self._silence.is_out and not was_out:
            mark(True)
        if text:
            self._session.say(text)
        if self._silence.is_given_up:
            mark(False)
            raise Failed(
                f"cannot reach share '{self._name}': it did not answer for {human_time(silent)}",
                hint="check the server and the network; lvpack.patience=TIME waits longer",
            )

    def lost(self) -> None:
        """Note that a connection has ended: what the server had confirmed is to be read back."""
        self._session.outages += 1
        self.losses += 1

    def pause(self, seconds: float) -> None:
        """Wait for a while before the server is asked again. Raises as waits() does."""
        self.waits()
        time.sleep(seconds)
        self.waits()
