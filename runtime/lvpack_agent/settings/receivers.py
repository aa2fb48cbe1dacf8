"""lvpack.notify: who is told of a run. What may stand there, and in a secret that is meant there; a reader for it."""

import re
from dataclasses import dataclass

from lvpack_agent.settings.urls import is_server

SECRET = "secret:"
# Names of secrets are fixed: so many receivers can have URLs that nobody may see.
SECRET_NAMES = ("notify", "notify-2", "notify-3", "notify-4")
GET = "get+"
FORM = "https://HOST[:PORT]/PATH, http://…, get+https://HOST[:PORT]/PATH/{status}, secret:NAME"

# What stands in a URL for get+, and what each stands for.
PLACEHOLDERS = {
    "status": "`started` when the run begins; then its status: `ok`, `refused` or `failed`",
    "event": "`started` or `result`",
    "exit": "`0` for a result that is `ok`, `1` for any other; nothing when the run begins",
    "action": "`lvpack.action`; nothing if the run did not come that far",
    "name": "the name of the image set; nothing if it is not known",
    "message": "the sentence of the result, its first 200 characters; nothing when the run begins",
}
# What also tells that a run begins: a receiver whose URL has none of these gets the result only.
_TELLS_BEGIN = ("{status}", "{event}")
# That of a URL and no more (RFC 3986, 2), without what a menu of a boot loader may read in its own way: ' and $.
_TARGET = re.compile(r"(?:[A-Za-z0-9._~:/?@!&()*+,;=-]|\[|\]|%[0-9A-Fa-f]{2}|\{[a-z]+\})*")
_URL = re.compile(r"(get\+)?(https?)://([^/?#\s]+)([/?].*)?", re.DOTALL)
_SERVER = re.compile(r"((?:get\+)?https?://[A-Za-z0-9.:_\[\]-]*)[^@]*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Somebody who is told: at a server, by a GET or else a POST of target, a path and what follows it as in the URL.

    label is what people read: the host, or secret:NAME if the URL is a secret. port is None for the scheme's own.
    """

    label: str
    get: bool
    scheme: str
    host: str
    port: int | None
    target: str

    @property
    def hears_begin(self) -> bool:
        """Whether it is told that a run begins: a GET that says the same then as at the end would be taken for that."""
        return not self.get or any(word in self.target for word in _TELLS_BEGIN)


def receiver(text: str) -> str:
    """Read a value of lvpack.notify; it is checked and stays text."""
    if text.startswith(SECRET):
        if text.removeprefix(SECRET) not in SECRET_NAMES:
            raise ValueError(f"the secrets that may have the URL of a receiver are {', '.join(SECRET_NAMES)}")
    else:
        of_url(text)
    return text


def of_url(text: str, label: str = "") -> Receiver:
    """Read the URL of a receiver; label is what it is called by, instead of its host.

    Raises ValueError that shows nothing of the URL.
    """
    parts = _URL.fullmatch(text)
    if not parts:
        raise ValueError("it must be a URL such as https://HOST/PATH, or secret:NAME")
    get, scheme, server, target = parts.groups()
    if "@" in server:
        raise ValueError("a user or password is no part of it")
    if not is_server(server, text):
        raise ValueError("what stands after :// is not a HOST or HOST:PORT")
    target = target or "/"
    if not _TARGET.fullmatch(target):
        raise ValueError("letters of other scripts, blanks, quotes, '#', '$' and the like in it are written as %XX")
    used = re.findall(r"\{(.*?)\}", target)
    if used and not get:
        raise ValueError("only get+https:// and get+http:// have words in braces")
    if unknown := [word for word in used if word not in PLACEHOLDERS]:
        raise ValueError(f"there is no {{{unknown[0]}}}, only {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}")
    if get and not {"status", "exit"} & {*used}:
        raise ValueError("without {status} or {exit} in it a GET says the same of a good run and of a bad one")
    host, _, port = server.rpartition(":") if re.search(r":[0-9]+$", server) else (server, "", "")
    host = host.strip("[]")
    return Receiver(
        label=label or host,
        get=bool(get),
        scheme=scheme,
        host=host,
        port=int(port) if port else None,
        target=target if target.startswith("/") else f"/{target}",
    )


def shown(text: str) -> str:
    """Return a value of lvpack.notify as it may be shown: of a URL the server only, and none where that is not sure."""
    if re.fullmatch(rf"{SECRET}[a-z0-9-]{{0,20}}", text):
        return text
    server = _SERVER.fullmatch(text)
    return f"{server[1]}/***" if server else "***"


def placeholders_as_markdown() -> str:
    """Return the table of the words in braces that docs/notify.md shows."""
    rows = ["| in the URL | what |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{{{name}}}` | {meaning} |" for name, meaning in PLACEHOLDERS.items())]) + "\n"
