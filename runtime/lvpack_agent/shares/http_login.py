"""What lets us in at a server of HTTP: the secret `http`, which goes over TLS only."""

import base64

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.printable import printable
from lvpack_agent.shares.proxy import Proxy
from lvpack_agent.shares.share import Secrets
from lvpack_agent.shares.url import ShareUrl


def credentials(url: ShareUrl, secrets: Secrets, proxy: Proxy | None, server: str) -> str:
    """Return the header of a request that says who we are. Raises Refused if there is no secret, or it is not fit."""
    if url.scheme != "https":
        raise Refused(
            f"cannot log in at {server}: it wants a password, which goes over https:// only",
            hint="let the server speak TLS, and name it with https://"
            + (f"; or check secret 'proxy', if it is proxy {proxy} that wants it" if proxy else ""),
        )
    text = secrets.need("http", f"what lets us in at {url.host}")
    if text.startswith(b"Bearer "):
        return text.decode("latin-1")
    if b":" not in text:
        raise Refused("cannot use secret 'http': it has no colon", hint="it is USER:PASSWORD, or Bearer TOKEN")
    return f"Basic {base64.b64encode(text).decode()}"


def refused(server: str, status: int, reason: str) -> Failed:
    """Return the error of a server that does not let us in."""
    return Failed(
        f"cannot log in at {server}: {status} {printable(reason)}",
        hint="check secret 'http': USER:PASSWORD, or Bearer TOKEN",
    )
