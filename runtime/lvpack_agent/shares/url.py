"""URLs of shares."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareUrl:
    """A parsed share URL; port is None where the scheme's own applies."""

    scheme: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path}"

    def parent(self) -> tuple["ShareUrl", str]:
        """Return the URL of the folder above and the last name of the path."""
        above, _, name = self.path.rstrip("/").rpartition("/")
        return ShareUrl(scheme=self.scheme, host=self.host, port=self.port, path=above or "/"), name


def parse_url(url: str) -> ShareUrl:
    """Read a URL that lvpack_agent.settings has accepted."""
    parts = urlsplit(url)
    return ShareUrl(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, path=unquote(parts.path))
