"""Lists of web servers, which may say anything."""

import pytest

from lvpack_agent.shares import http_lists

HEAD = '<D:multistatus xmlns:D="DAV:">'


def listed(*hrefs: str) -> bytes:
    return (
        HEAD + "".join(f"<D:response><D:href>{href}</D:href></D:response>" for href in hrefs) + "</D:multistatus>"
    ).encode()


@pytest.mark.parametrize("base", ["", "https://nas"])
def test_names_in_a_folder(base: str) -> None:
    body = listed(
        f"{base}/sets/", f"{base}/sets/one/", f"{base}/sets/a%20b", f"{base}/sets/", "http://[/x", f"{base}/other/two"
    )
    assert http_lists.names(body, "/sets/") == ["one", "a b"]
    assert http_lists.names(listed("/", "/one/"), "/") == ["one"]


def test_a_list_of_another_folder_is_no_empty_one() -> None:
    """As of a server behind a proxy that takes a part of the path away."""
    with pytest.raises(OSError, match="the server lists another folder than /dav/sets/"):
        http_lists.names(listed("/sets/", "/sets/one/"), "/dav/sets/")


@pytest.mark.parametrize(
    "body", [b"", b"<a>", b'<?xml version="1.0" encoding="gbk"?><a/>', b'<?xml version="1.0" encoding="x"?><a/>']
)
def test_what_is_no_list_is_said(body: bytes) -> None:
    with pytest.raises(OSError, match="the server's list cannot be read"):
        http_lists.names(body, "/sets/")
    assert http_lists.room(body) is None
