"""lvpack.share: the options of a share that are no secrets. One table for the parser, the help and the docs."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from lvpack_agent.settings.urls import is_server
from lvpack_agent.settings.values import ShareOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOption:
    """One option: its name, the schemes that have it, its values for people, its reader and its meaning.

    read is None for one that has no value.
    """

    name: str
    schemes: tuple[str, ...]
    values: str
    read: Callable[[str], str] | None
    meaning: str


def _account(text: str) -> str:
    """Read the name of a user or a domain."""
    if not re.fullmatch(r"[^\s,/\\:@\"%]{1,104}", text):
        raise ValueError("it has a user or a domain that is no name of one")  # it may be more than that
    return text


def _endpoint(text: str) -> str:
    """Read the URL of a server, without a path."""
    match = re.fullmatch(r"https?://([^/]+)/?", text)
    if not match or not is_server(match[1], text):
        raise ValueError("endpoint must be https://HOST[:PORT] or http://HOST[:PORT]")
    return text.rstrip("/")


def _proxy(text: str) -> str:
    """Read the URL of a proxy, whose port is always named."""
    match = re.fullmatch(r"http://([^/]+:[0-9]+)/?", text)
    if not match or not is_server(match[1], text):
        raise ValueError("proxy must be http://HOST:PORT; what lets us through is the secret proxy")
    return text.rstrip("/")


def _parts(text: str) -> str:
    """Read how many parts an upload has at most."""
    if not re.fullmatch("[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > 10_000:
        raise ValueError("parts must be a number from 1 to 10000")
    return text


SHARE_OPTIONS: tuple[ShareOption, ...] = (
    ShareOption(
        name="user",
        schemes=("smb",),
        values="a name",
        read=_account,
        meaning="who asks the server; its password is the secret `smb`",
    ),
    ShareOption(
        name="domain",
        schemes=("smb",),
        values="a name",
        read=_account,
        meaning="the domain or workgroup that knows the user",
    ),
    ShareOption(
        name="seal",
        schemes=("smb",),
        values="",
        read=None,
        meaning="all that goes to the server and comes from it is encrypted (SMB 3), not only signed",
    ),
    ShareOption(
        name="endpoint",
        schemes=("s3",),
        values="https://HOST[:PORT], http://HOST[:PORT]",
        read=_endpoint,
        meaning="the server that has the bucket; its access keys are the secret `s3`",
    ),
    ShareOption(
        name="region",
        schemes=("s3",),
        values="a name",
        read=_account,
        meaning="the region that requests are signed for; without it us-east-1",
    ),
    ShareOption(
        name="path-style",
        schemes=("s3",),
        values="",
        read=None,
        meaning="the bucket is the first part of the path, and not of the server's name",
    ),
    ShareOption(
        name="parts",
        schemes=("s3",),
        values="1 to 10000",
        read=_parts,
        meaning="how many parts of an upload the server takes at most; without it 9,000 are counted on (Swift: 1000)",
    ),
    ShareOption(
        name="proxy",
        schemes=("https", "http", "s3"),
        values="http://HOST:PORT",
        read=_proxy,
        meaning="the proxy by which the server is reached; what lets us through is the secret `proxy`",
    ),
)

BY_NAME = {option.name: option for option in SHARE_OPTIONS}
FORM = ", ".join(o.name + ("=…" if o.read else "") for o in SHARE_OPTIONS)


def share_options(text: str) -> ShareOptions:
    """Read `user=NAME,seal`. Raises ValueError that names what is wrong."""
    given: dict[str, str | bool] = {}
    for word in text.split(",") if text else ():
        key, equals, value = word.partition("=")
        if key not in BY_NAME:
            if re.search("pass|pwd|secret|token|credential", key, re.IGNORECASE):
                raise ValueError(
                    f"'{key}' would be a secret, and everybody reads a command line: give it as one (lvpack build "
                    "--secret NAME=FILE)"
                )
            raise ValueError(f"there is no option '{key}' of a share")
        if key.replace("-", "_") in given:
            raise ValueError(f"'{key}' is there twice")
        option = BY_NAME[key]
        if bool(equals) != bool(option.read):
            raise ValueError(f"'{key}' has {'no value' if option.read else 'a value, and takes none'}")
        given[key.replace("-", "_")] = option.read(value) if option.read else True
    return ShareOptions(**given)  # type: ignore[arg-type]


def given_options(options: ShareOptions) -> tuple[str, ...]:
    """Return the names of the options that are given."""
    return tuple(field.name.replace("_", "-") for field in fields(options) if getattr(options, field.name))


def as_markdown() -> str:
    """Return the table of the options that docs/shares.md shows."""
    rows = ["| option | values | shares | meaning |", "|---|---|---|---|"]
    for o in SHARE_OPTIONS:
        rows.append(f"| `{o.name}` | {o.values or 'none'} | {', '.join(f'{s}://' for s in o.schemes)} | {o.meaning} |")
    return "\n".join(rows) + "\n"
