"""The names of secrets, which are fixed: what each is, and which of them a person can type."""

from dataclasses import dataclass

from lvpack_agent.settings.receivers import SECRET_NAMES
from lvpack_agent.sizes import KIB

# No secret is larger; the longest are lists of host keys.
MOST = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A secret: its name and its meaning. typed: it is one line, which can be asked for on a console."""

    name: str
    meaning: str
    typed: bool = True


NAMES: tuple[Name, ...] = (
    Name(name="smb", meaning="the password of the user of an `smb://` share"),
    Name(
        name="ssh-key",
        meaning="the private key for an `sftp://` share, as ssh-keygen(1) makes it, without a passphrase",
        typed=False,
    ),
    Name(
        name="known-hosts",
        meaning="the host keys of the servers of `sftp://` shares, lines as in `~/.ssh/known_hosts` (ssh-keyscan(1))",
        typed=False,
    ),
    Name(
        name="http",
        meaning="what lets us in at an `https://` share: `USER:PASSWORD`, or `Bearer TOKEN`; it never goes over `http://`",
    ),
    Name(
        name="proxy",
        meaning="what lets us through a proxy (`lvpack.share=proxy=`) that wants it: `USER:PASSWORD`; it goes to the "
        "proxy as it is",
    ),
    Name(name="s3", meaning="the keys for an `s3://` share: `ACCESS-KEY:SECRET-KEY`"),
    Name(
        name="ca",
        meaning="the certificates, in PEM, of the only authorities that are believed of `https://` and `s3://` shares, "
        "and of receivers",
        typed=False,
    ),
    Name(
        name="client-cert",
        meaning="the certificate that the machine shows an `https://` share, and its key, in PEM",
        typed=False,
    ),
    Name(
        name=SECRET_NAMES[0],
        meaning="the URL of a receiver, for `lvpack.notify=secret:notify`: `https://…` or `get+https://…`",
    ),
    *(Name(name=name, meaning=f"the same, for `lvpack.notify=secret:{name}`") for name in SECRET_NAMES[1:]),
)
BY_NAME = {name.name: name for name in NAMES}


def line(text: bytes) -> bytes:
    """Return a secret of one line without the line end that editors put there."""
    return text.removesuffix(b"\n").removesuffix(b"\r")


def in_header(name: str, text: bytes) -> bytes:
    """Return what of a secret of one line stands in a header of HTTP as it is: a token, an access key; or nothing."""
    if name == "s3":
        return text.rpartition(b":")[0]
    return text if name == "http" and text.startswith(b"Bearer ") else b""


def as_markdown() -> str:
    """Return the table of the names that docs/secrets.md shows."""
    rows = ["| name | what |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{n.name}` | {n.meaning} |" for n in NAMES)]) + "\n"
