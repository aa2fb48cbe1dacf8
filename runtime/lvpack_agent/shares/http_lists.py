"""What WebDAV's PROPFIND asks, and reading its answers (RFC 4918, 9.1; RFC 4331)."""

import errno
import xml.etree.ElementTree as xml
from urllib.parse import unquote

from lvpack_agent.shares import http_words

_ROOM = "quota-available-bytes"
NAMES = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
ROOM = f'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><{_ROOM}/></prop></propfind>'.encode()


def headers(depth: int) -> dict[str, str]:
    """Return the headers of a request for a name (depth 0), or for those in a folder as well (1)."""
    return {"Depth": str(depth), "Content-Type": "application/xml"}


def names(body: bytes, path: str) -> list[str]:
    """Return the names in a folder, whose path is given as it stands in a request. Raises OSError if it is no list."""
    try:
        tree = xml.fromstring(body)
    except xml.ParseError as error:
        raise OSError(errno.EPROTO, f"the server's list cannot be read: {error}") from None
    here, found = unquote(path).strip("/"), []
    for href in tree.iterfind("{DAV:}response/{DAV:}href"):
        above, _, name = unquote(http_words.path_of(href.text or "")).strip("/").rpartition("/")
        if above == here and name not in ("", ".", ".."):
            found.append(name)
    return found


def room(body: bytes) -> int | None:
    """Return how many bytes are left; None if the answer does not say. Some say -3 for "as much as you like"."""
    try:
        return http_words.count(xml.fromstring(body).findtext(f".//{{DAV:}}{_ROOM}") or "")
    except xml.ParseError:
        return None
