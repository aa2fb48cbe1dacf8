"""URLs of shares."""

from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from lvpack_agent.settings.urls import SCHEMES


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareUrl:
    """A parsed share URL; port is None where the scheme's own applies.

    host is that of a server, or what tells a disk of this machine: a label, a UUID or a name in /dev/disk/by-id.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and not SCHEMES[self.scheme].local else self.host
        host = f"{self.user}@{host}" if self.user else host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path}"

    def parent(self) -> tuple["ShareUrl", str]:
        """Return the URL of the folder above and the last name of the path."""
        above, _, name = self.path.rstrip("/").rpartition("/")
        return replace(self, path=above or "/"), name


def parse_url(url: str) -> ShareUrl:
    """Read a URL that lvpack_agent.settings has accepted."""
    scheme, _, rest = url.partition("://")
    if SCHEMES[scheme].local:  # its case counts, and it may have what no host has
        host, _, path = rest.partition("/")
        return ShareUrl(scheme=scheme, host=unquote(host), port=None, path=f"/{unquote(path)}")
    parts = urlsplit(url)
    return ShareUrl(
        scheme=scheme,
        host=parts.hostname or "",
        port=parts.port,
        path=unquote(parts.path),
        user=parts.username or "",
    )
