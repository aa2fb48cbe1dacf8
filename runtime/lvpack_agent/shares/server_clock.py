"""A certificate that is out of date by this machine's clock: which clock is wrong, and what is safe to do about it.

The time that a server tells before it is trusted may be told by somebody who has its old certificate, and wants it to
be taken for one that is valid. So people are shown it; this machine's clock is set by it only if that cannot be right.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import lvpack_agent
from lvpack_agent.errors import Refused

DAY = 86400.0
# Clocks that differ by less agree.
AGREED_SECONDS, ASK_SECONDS = 60.0, 10.0
# OpenSSL, x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED.
_OF_DATES = (9, 10)


def built() -> float:
    """Return the date of the live image, in seconds since 1970: that of all in it (builder: reproducible.py)."""
    return Path(lvpack_agent.__file__).stat().st_mtime


def shown(seconds: float) -> str:
    """Return a time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def dated(date: str | None) -> float | None:
    """Return the time in a header `Date`, in seconds since 1970; None if there is none."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def is_of_dates(error: Exception) -> bool:
    """Return whether a certificate was not taken since it is not valid yet, or no more."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OF_DATES


def told(connect: Callable[[float], socket.socket], host: str) -> float | None:
    """Return the time that a server tells, whoever it may be, in seconds since 1970; None if it tells none.

    connect makes a connection, with that many seconds for each step. Nothing goes there that is secret.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with connect(ASK_SECONDS) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
            name = f"[{host}]" if ":" in host else host
            connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode("ascii"))
            answer = http.client.HTTPResponse(connection, method="HEAD")
            answer.begin()
            answer.close()
            return dated(answer.headers.get("Date"))
    except Exception:  # whatever it may be: it was asked for people only
        return None


class MachineClock:
    """This machine's clock, for one share. set_time sets it, None if that is nobody's to do; warn tells people."""

    def __init__(self, set_time: Callable[[float], object] | None, warn: Callable[[str], object]) -> None:
        self._set_time, self._warn = set_time, warn

    def judge(self, error: ssl.SSLCertVerificationError, server: str, theirs: float | None) -> None:
        """Set the clock by the time that a server tells, if it cannot be right: what was asked may be asked again.

        Raises Refused if it may be right, or there is no better time, which names all that is known.
        """
        now, image = time.time(), built()
        if now < image - DAY and theirs is not None and theirs >= image and self._set(theirs):
            self._warn(
                f"the clock of this machine said {shown(now)}, and this live image is of {shown(image)}: it was set to "
                f"{shown(theirs)} UTC, as server {server} says, before its certificate was looked at"
            )
            return
        raise Refused(
            f"cannot trust server {server}: its certificate: {error.verify_message}", hint=_hint(now, image, theirs)
        ) from None

    def _set(self, seconds: float) -> bool:
        """Set the clock, once; return whether that is done."""
        set_time, self._set_time = self._set_time, None
        try:
            if set_time:
                set_time(seconds)
        except OSError:
            return False
        return set_time is not None


def _hint(now: float, image: float, theirs: float | None) -> str:
    said = f"this machine's clock says {shown(now)} UTC"
    if now < image - DAY:
        said += f", and this live image is of {shown(image)}"
    if theirs is None:
        return f"{said}: set it if that is wrong (date -u -s), else give the server a new certificate"
    if abs(now - theirs) <= AGREED_SECONDS:
        return f"{said}, and the server's the same: it needs a new certificate"
    return (
        f"{said}, the server's {shown(theirs)}, for which nobody vouches: set this machine's clock if that is the one "
        "that is wrong (date -u -s), else give the server a new certificate"
    )
