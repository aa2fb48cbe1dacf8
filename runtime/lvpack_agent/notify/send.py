"""Telling receivers of an event: all at the same time, each by one request, and none for longer than a deadline."""

import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.settings.receivers import Receiver
from lvpack_agent.shares import tls
from lvpack_agent.shares.http_wire import Http
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Gone

# For all receivers of an event together: nobody holds a machine up for longer.
SECONDS = 10.0
# That much later it is given up from outside, whatever it waits for.
GRACE_SECONDS = 0.5
RETRY_SECONDS = 1.0
MESSAGE_MOST = 200
# The certificate is of another host, or address (openssl/x509_vfy.h: X509_V_ERR_…_MISMATCH); ssl's text has the host.
_MISMATCH = (62, 64)


@dataclass(slots=True)
class Outcome:
    """What has come of telling a receiver: cause is "" if it has taken the event, else why not."""

    receiver: Receiver
    cause: str = "it has not answered in time"


def tell(receivers: Sequence[Receiver], event: Mapping[str, Any], own_ca: bytes | None) -> list[Outcome]:
    """Tell all receivers of an event, and return when SECONDS are over at the latest what came of it, in their order.

    own_ca is secret `ca`, None if there is none. A cause shows nothing of a receiver's URL.
    """
    deadline = time.monotonic() + SECONDS
    outcomes = [Outcome(receiver) for receiver in receivers]
    servers: list[_Server] = []
    threads = [
        threading.Thread(target=_tell, args=(outcome, event, own_ca, deadline, servers), name="notify", daemon=True)
        for outcome in outcomes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        # Not by the timeouts of its socket alone: a name server, and a server that sends byte by byte, take longer.
        thread.join(max(0.0, deadline + GRACE_SECONDS - time.monotonic()))
    # What a thread that is late still says is nobody's any more.
    told = [Outcome(outcome.receiver, outcome.cause) for outcome in outcomes]
    for server in servers:
        server.give_up()
    return told


def _tell(
    outcome: Outcome, event: Mapping[str, Any], own_ca: bytes | None, deadline: float, servers: "list[_Server]"
) -> None:
    receiver = outcome.receiver
    try:
        server = _Server(receiver, tls.believing(own_ca) if receiver.scheme == "https" else None, deadline)
        servers.append(server)
        outcome.cause = _told(server, receiver, event, deadline)
    except LvpackError as error:
        outcome.cause = error.message
    except Exception as error:  # whose text may be that of the URL
        outcome.cause = type(error).__name__


def _told(server: "_Server", receiver: Receiver, event: Mapping[str, Any], deadline: float) -> str:
    """Send an event until the receiver has answered; return why it has not taken it, "" if it has."""
    method, target, body = "POST", receiver.target, json.dumps(event).encode()
    if receiver.get:
        method, target, body = "GET", filled(receiver.target, event), b""
    headers = {"Content-Type": "application/json"} if body else {}
    while True:
        try:
            status = server.once(method, target, headers, body).status
            cause, passes = said(status), isinstance(server.refusal(status, ""), Gone)
        except Gone as gone:
            cause, passes = str(gone), True
        finally:
            server.drop()
        if not passes or time.monotonic() + RETRY_SECONDS > deadline:
            return cause
        time.sleep(RETRY_SECONDS)


def said(status: int) -> str:
    """Return what a status of HTTP means for an event: "" is that the receiver has taken it.

    The words are those of RFC 9110, not of the server, which may send back what it was asked for.
    """
    if 200 <= status < 300:
        return ""
    words = f"{status} {http.client.responses.get(status, '')}".rstrip()
    if 300 <= status < 400:
        return f"it leads to another place ({words}), which is not followed"
    return f"it answers {words}"


def filled(target: str, event: Mapping[str, Any]) -> str:
    """Return the target of a URL with its words in braces filled in, percent-encoded."""
    is_end = event["event"] == "result"
    values = {
        "event": event["event"],
        "status": event["status"] if is_end else event["event"],
        "exit": ("0" if event["status"] == "ok" else "1") if is_end else "",
        "action": event["action"],
        "name": event["name"],
        "message": event["message"][:MESSAGE_MOST] if is_end else "",
    }
    for name, value in values.items():
        # What is filled in has no braces: they are encoded.
        target = target.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
    return target


class _NoSecrets:
    """A share's password is for its server, and goes to no receiver."""

    def find(self, _: str) -> None:
        return None

    def need(self, name: str, _: str) -> NoReturn:
        raise Refused(f"cannot show secret '{name}' to a receiver", hint="the URL of a receiver says who we are")


class _Server(Http):
    """The server of a receiver. Its errors show neither its name, which may be secret, nor what it says."""

    def __init__(self, receiver: Receiver, context: ssl.SSLContext | None, deadline: float) -> None:
        url = ShareUrl(scheme=receiver.scheme, host=receiver.host, port=receiver.port, path="/")
        super().__init__(url, _NoSecrets(), context)
        self._deadline = deadline
        self._made: http.client.HTTPConnection | None = None

    def connection(self, seconds: float) -> http.client.HTTPConnection:
        """Return a new connection; each step of it may take as long as there is time left. Raises Gone after that."""
        self._made = made = super().connection(max(0.1, min(seconds, self._deadline - time.monotonic())))
        # Nobody may be there any more to give it up.
        if time.monotonic() >= self._deadline:
            made.close()
            raise Gone("it does not answer")
        return made

    def give_up(self) -> None:
        """End what another thread still waits for, when the deadline is over: its next read finds the end."""
        if (made := self._made) and (sock := made.sock):
            with suppress(OSError):
                # Not that of ssl, which would have what comes next read as if it were plain.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def gone(self, error: Exception) -> Exception:
        """Return what an error of a connection is: Gone, unless the next one would end alike."""
        if isinstance(error, Gone | LvpackError):
            return error
        if isinstance(error, ssl.SSLCertVerificationError):
            mismatch = error.verify_code in _MISMATCH
            why = "it is for another name" if mismatch else error.verify_message
            return Failed(f"its certificate is not trusted: {why}")
        if isinstance(error, ssl.SSLError):
            return Failed(f"it does not speak TLS with us: {error.reason or 'the connection has ended'}")
        if isinstance(error, TimeoutError):
            return Gone("it does not answer")
        if isinstance(error, OSError) and error.errno:
            # Those of name servers have numbers of their own, and words that are always the same (getaddrinfo(3)).
            return Gone(error.strerror if type(error).__name__ == "gaierror" else os.strerror(error.errno))
        return Gone("it has closed the connection, or does not speak HTTP")
