"""What WebDAV's PROPFIND asks, and reading its answers (RFC 4918, 9.1; RFC 4331)."""

import errno
from contextlib import suppress
from urllib.parse import unquote

from lvpack_agent.printable import printable
from lvpack_agent.shares import http_words

_ROOM = "quota-available-bytes"
NAMES = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
ROOM = f'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><{_ROOM}/></prop></propfind>'.encode()


def headers(depth: int) -> dict[str, str]:
    """Return the headers of a request for a name (depth 0), or for those in a folder as well (1)."""
    return {"Depth": str(depth), "Content-Type": "application/xml"}


def names(body: bytes, path: str) -> list[str]:
    """Return the names in a folder, whose path is given as it stands in a request. Raises OSError if it is no list."""
    here = unquote(path).strip("/")
    hrefs = http_words.tree(body).iterfind("{DAV:}response/{DAV:}href")
    paths = [unquote(http_words.path_of(href.text or "")).strip("/") for href in hrefs]
    if here not in paths:  # a list has the folder itself, too; a proxy may have put its own name before
        raise OSError(errno.EPROTO, f"the server lists another folder than {printable(path)}")
    found = (one.rpartition("/") for one in paths if one != here)
    return [name for above, _, name in found if above == here and name not in ("", ".", "..")]


def room(body: bytes) -> int | None:
    """Return how many bytes are left; None if the answer does not say. Some say -3 for "as much as you like"."""
    with suppress(OSError):
        return http_words.count(http_words.tree(body).findtext(f".//{{DAV:}}{_ROOM}") or "")
    return None
