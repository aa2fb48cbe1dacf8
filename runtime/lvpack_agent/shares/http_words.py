"""What a server of HTTP says, as values: lengths, dates, places that it leads to. It may say anything (RFC 9110)."""

import errno
import re
import xml.etree.ElementTree as xml
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urljoin, urlsplit

from lvpack_agent.printable import printable

# What a path of a request has as it is.
SAFE = "/~!$&'()*+,;=:@"
# What statuses mean.
ERRORS = {
    403: errno.EACCES,
    404: errno.ENOENT,
    409: errno.ENOENT,  # of a folder above (RFC 4918, 9.3.1)
    405: errno.EOPNOTSUPP,
    412: errno.EEXIST,
    413: errno.EFBIG,
    423: errno.EBUSY,
    501: errno.EOPNOTSUPP,
    507: errno.ENOSPC,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server has answered: status, headers by names in lower case, and what was asked for of its text."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def count(text: str) -> int | None:
    """Return a number of bytes; None if it is none. (`isdigit()` takes digits that `int()` does not.)"""
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text.strip(), re.ASCII) else None


def seconds(date: str) -> float | None:
    """Return a date in seconds since 1970; None if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def tree(body: bytes) -> "xml.Element[str]":
    """Return XML that a server says. Raises OSError if it is none, or in an encoding that nobody knows."""
    try:
        return xml.fromstring(body)
    except (xml.ParseError, ValueError, LookupError) as error:
        raise OSError(errno.EPROTO, f"the server's list cannot be read: {printable(str(error))}") from None


def path_of(href: str) -> str:
    """Return the path of a URL in a list, "" if it is no URL."""
    try:
        return urlsplit(href).path
    except ValueError:
        return ""


def led(at: str, to: str) -> str:
    """Return the path that a redirect leads to from a whole URL. Raises OSError if that is at another server."""
    try:
        # http.client takes headers for Latin-1; servers write UTF-8 there as it is.
        to = quote(to.encode("latin-1"), safe=SAFE + "%?#[]")
        here, there = urlsplit(at), urlsplit(urljoin(at, to))
    except ValueError:
        raise OSError(errno.EPROTO, f"the server leads to {printable(to)}, which is no URL") from None
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        # What is secret goes to nobody who was not named.
        place = printable(f"{there.scheme}://{there.netloc}")
        raise OSError(errno.EREMOTE, f"the server leads to another one, {place}: name that in the URL")
    return there.path + (f"?{there.query}" if there.query else "")
