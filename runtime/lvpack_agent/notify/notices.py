"""The notices of a run to its receivers: one when it begins, one with its result.

No receiver changes what comes of a run: whatever fails here is a warning.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from lvpack_agent import VERSION, places
from lvpack_agent.errors import Ended, LvpackError, Refused
from lvpack_agent.jsonform import to_json
from lvpack_agent.machine import dmi
from lvpack_agent.network.up import Network, has_failed
from lvpack_agent.notify.asked import Asked, leave, of_killed, of_words
from lvpack_agent.report import Report
from lvpack_agent.secret.secrets import Secrets
from lvpack_agent.session import Session
from lvpack_agent.settings.receivers import SECRET, Receiver, of_url
from lvpack_agent.settings.urls import scheme_of
from lvpack_agent.settings.values import Settings

Say = Callable[[str], object]

# For the network, secrets and all receivers, when the run is over.
END_SECONDS = 120.0
# How an error of the network begins.
_NO_SHARE = "cannot reach the share: "


class Notices:
    """Who is told of a run, and of what. of_run makes the secrets of a run by lvpack.secrets.

    network is this machine's, as soon as its options were read.
    """

    def __init__(self, of_run: Callable[[str], Secrets]) -> None:
        self.network: Network | None = None
        self._of_run = of_run
        self._receivers: tuple[Receiver, ...] = ()
        self._ca: bytes | None = None
        self._has_begun = False
        # Of a run that has not come as far as to its receivers.
        self._late: tuple[Asked, Secrets] | None = None

    def begin(self, settings: Settings, secrets: Secrets, network: Network, session: Session) -> None:
        """Bring the network up, find the receivers, and tell them that the run begins.

        Raises the error of the network if the run needs it as well, and Ended; all else is a warning.
        """
        _forget()
        if settings.notify:
            asked = Asked(settings.notify, settings.secrets)
            with suppress(OSError):
                leave(asked)
            try:
                network.up(session.say)
            except Exception as error:
                # Its share would wait for the network as long again, and end the run with the same words.
                if isinstance(error, Ended) or _needs_network(settings):
                    raise
                cause = error.message if isinstance(error, LvpackError) else f"{type(error).__name__}: {error}"
                session.warn(f"cannot tell anybody of this run: {cause.removeprefix(_NO_SHARE)}")
            with _warning(session.warn):
                self._find(asked, secrets, session.warn)
        self._has_begun = True
        if self._receivers and not has_failed():
            with _warning(session.warn):
                self._tell(started(session), session.say, session.warn)

    def prepare(self, settings: Settings | None, command_line: str, *, is_killed: bool) -> None:
        """Find out who is to be told of a run that has ended before begin(), while the secrets of the initrd are there.

        is_killed: it is the run of the agent before this one.
        """
        if self._has_begun:
            return
        with suppress(Exception):  # the result has to be said
            asked = of_killed() if is_killed else Asked(settings.notify, settings.secrets) if settings else None
            asked = asked or of_words(command_line)
            secrets = self._of_run(asked.secrets)
            if asked.notify:
                secrets.keep(["ca", *(text.removeprefix(SECRET) for text in asked.notify if text.startswith(SECRET))])
                self._late = asked, secrets

    def end(self, report: Report, say: Callable[[str], None]) -> None:
        """Tell the receivers of the result, when it has been said; what fails is a line "warning: …".

        It takes END_SECONDS at most, also where a name server, a stick or a disk does not answer.
        """
        if not self._receivers and not self._late:
            _forget()
            return

        def warn(text: str) -> None:
            say(f"warning: {text}")

        with suppress(KeyboardInterrupt), _warning(warn):
            thread = threading.Thread(target=self._end, args=(report, say, warn), name="notices", daemon=True)
            thread.start()
            thread.join(END_SECONDS)
            if thread.is_alive():
                warn("cannot tell the receivers the result: it took too long")
        _forget()

    def _end(self, report: Report, say: Callable[[str], None], warn: Say) -> None:
        with _warning(warn):
            if self._late:
                asked, secrets = self._late
                if self.network and not has_failed():
                    with suppress(Exception):  # has_failed() tells
                        self.network.up(say)
                self._find(asked, secrets, warn)
            if self._receivers and has_failed():
                names = ", ".join(receiver.label for receiver in self._receivers)
                warn(f"cannot tell {names} the result: the network did not come up")
            elif self._receivers:
                self._tell(result(report), say, warn)

    def _find(self, asked: Asked, secrets: Secrets, warn: Say) -> None:
        """Turn values of lvpack.notify into receivers, with what their secrets say."""
        found = []
        for text in dict.fromkeys(asked.notify):
            try:
                found.append(_of_secret(text, secrets) if text.startswith(SECRET) else of_url(text))
            except Ended:
                raise
            except LvpackError as error:
                warn(f"cannot tell {text}: {error.message}")
            except ValueError as error:
                warn(f"cannot tell {text}: that secret is no URL that lvpack.notify takes: {error}")
        self._receivers = tuple(found)
        if any(receiver.scheme == "https" for receiver in found):
            try:
                self._ca = secrets.find("ca")
            except Ended:
                raise
            except LvpackError as error:
                # Who is believed is not known then.
                warn(f"cannot tell receivers by https://: {error.message}")
                self._receivers = tuple(receiver for receiver in found if receiver.scheme != "https")

    def _tell(self, event: Mapping[str, Any], say: Say, warn: Say) -> None:
        is_begin = event["event"] == "started"
        receivers = [receiver for receiver in self._receivers if receiver.hears_begin or not is_begin]
        if not receivers:
            return
        # TLS takes memory, which a run that tells nobody does without.
        from lvpack_agent.notify.send import tell

        what = "that the run begins" if is_begin else "the result"
        for outcome in tell(receivers, event, self._ca):
            if outcome.cause:
                warn(f"cannot tell {outcome.receiver.label} {what}: {outcome.cause}")
            else:
                say(f"notify: told {outcome.receiver.label} {what}")


def started(session: Session) -> dict[str, Any]:
    """Return what a receiver gets when a run begins (docs/interfaces.md)."""
    return {**_about("started"), "action": session.action, "name": session.name}


def result(report: Report) -> dict[str, Any]:
    """Return what a receiver gets at the end: the object of the result line, and what it is an event of."""
    return {**_about("result"), **to_json(report)}


def _about(event: str) -> dict[str, Any]:
    machine: dict[str, str] = {}
    with suppress(Exception):  # whatever a firmware has there
        machine = dmi.machine()
    return {"event": event, "lvpack": VERSION, "machine": machine}


def _of_secret(text: str, secrets: Secrets) -> Receiver:
    """Return the receiver whose URL is a secret. Raises Refused without one, ValueError that shows nothing of it."""
    name = text.removeprefix(SECRET)
    url = secrets.find(name)
    if url is None:
        raise Refused(f"there is no secret '{name}'", hint=f"lvpack build --secret {name}=FILE")
    receiver = of_url(url.decode("ascii", errors="replace").strip(), label=text)
    if receiver.scheme != "https":
        raise ValueError("a URL that is a secret goes over https:// only")
    return receiver


def _needs_network(settings: Settings) -> bool:
    url = settings.target if settings.action == "backup" else settings.source
    return bool(url) and not scheme_of(url).local


def _forget() -> None:
    with suppress(OSError):
        places.NOTIFY.unlink(missing_ok=True)


@contextmanager
def _warning(warn: Say) -> Iterator[None]:
    """Make a warning of an error of whatever kind, whose text may have a URL; but a run that is told to end does."""
    try:
        yield
    except Ended:
        raise
    except Exception as error:
        warn(f"cannot tell anybody of this run: {type(error).__name__}")
