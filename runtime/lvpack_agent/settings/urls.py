"""URLs of shares: which schemes there are, what each looks like, and a reader for them."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

CONTROL = re.compile(r"[\0-\x1f\x7f]")
# Labels of a name have at most 63 characters (RFC 1035, 2.3.4); looking up a longer one raises an error that is no
# OSError.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)(:[0-9]{1,5})?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
# What stands behind the first colon after "://", up to the last "@": a password, whatever else it may hold.
_USER_PASSWORD = re.compile(r"(://[^:@/]*:).*@", re.DOTALL)
# A user with a password behind; a rule of lvpack.grow may end so, and has nothing behind (user=50%). A key that says of
# its value that it is a secret, in lvpack.share= or in a line of lvpack.config.
_USER_KEY = re.compile(r"(\buser=[^,:%]*[:%])[^,]+")
# A receiver of lvpack.notify in a line or a key that is not well formed: its URL may be a secret. What is one more word
# behind, and has nothing of a URL, is no receiver.
_RECEIVER = re.compile(r"((?:^|\blvpack\.)notify)(?=[^\w-]|.*[/:]).+", re.DOTALL)
_SECRET_KEY = re.compile(r"([\w-]*(?:pass|pwd|secret|token|credential)[\w-]*\s*=\s*)[^,]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How the URLs of a scheme look, for people, its port, and how many names of their path are the share's own.

    local: the host is what tells a disk of this machine. user: its URL names one. bucket: the host is
    that. inplace: why such a share cannot have
    the journal and the stores of in-place mode; "" if it can, or if that is known only when it is mounted. owners: a
    group can be given files.
    """

    form: str
    port: int = 0
    own: int = 0
    local: bool = False
    user: bool = False
    bucket: bool = False
    inplace: str = ""
    owners: bool = True


SCHEMES: dict[str, Scheme] = {
    "nfs": Scheme(form="nfs://HOST[:PORT]/PATH", port=2049),
    "smb": Scheme(
        form="smb://HOST[:PORT]/SHARE[/PATH]",
        port=445,
        own=1,
        inplace="nobody has seen what a server of SMB keeps of a journal and of stores when the power goes",
        owners=False,
    ),
    "file": Scheme(form="file://LABEL[/PATH]", local=True),
}
_SFTP = Scheme(
    form="sftp://USER@HOST[:PORT]/PATH",
    port=22,
    user=True,
    inplace="it is no folder of this machine, and these need one",
    owners=False,
)
SCHEMES |= {
    "sftp": _SFTP,
    "ssh": _SFTP,
    "https": Scheme(form="https://HOST[:PORT]/PATH", port=443, inplace=_SFTP.inplace, owners=False),
    "s3": Scheme(form="s3://BUCKET[/PREFIX]", bucket=True, inplace=_SFTP.inplace, owners=False),
    "http": Scheme(form="http://HOST[:PORT]/PATH", port=80, inplace=_SFTP.inplace, owners=False),
}
FORMS = ", ".join(dict.fromkeys(scheme.form for scheme in SCHEMES.values()))


def masked(text: str) -> str:
    """Return text of an option as it may be shown: what looks like a password in it is ***."""
    text = _RECEIVER.sub(r"\1***", text)
    return _SECRET_KEY.sub(r"\1***", _USER_KEY.sub(r"\1***", _USER_PASSWORD.sub(r"\1***@", text)))


def scheme_of(url: str) -> Scheme:
    """Return what is known of the scheme of a URL that a reader has taken."""
    return SCHEMES[url.partition("://")[0]]


def url(beside: int = 0) -> Callable[[str], str]:
    """Return a reader of the URL of a share, or of something on one; it is checked and stays text.

    beside: how many names follow the share's own path, such as that of a set.
    """
    return lambda text: _read(text, beside)


def _read(text: str, beside: int) -> str:
    name, separator, rest = text.partition("://")
    host, _, path = rest.partition("/")
    if not separator or not host:
        raise ValueError("it must be a URL such as nfs://HOST[:PORT]/PATH")
    if name not in SCHEMES:
        raise ValueError(f"this version of lvpack knows only {', '.join(f'{s}://' for s in SCHEMES)} shares")
    scheme = SCHEMES[name]
    user, at, without = host.rpartition("@")
    if scheme.user and not at:
        raise ValueError(f"it must be {scheme.form}: it has no user")
    if scheme.user and _USER.fullmatch(user):
        host, rest = without, rest.replace(f"{user}@", "", 1)
    if "@" in rest and (":" in rest.partition("@")[0] or "@" in host):
        raise ValueError(
            "a password is no part of it, nor a user, but for sftp://. lvpack.share=user=NAME has the user; a password "
            "is a secret (lvpack build --secret), for everybody reads a command line"
        )
    if not scheme.local and not is_server(host, text):
        raise ValueError(f"'{host}' is not a HOST or HOST:PORT")
    if re.search(r"[\\?#]", rest):  # a byte that is not UTF-8 has become \xNN
        raise ValueError("a backslash, '?' and '#' in its path are written as %5C, %3F and %23, in UTF-8")
    try:
        host, path = unquote(host, errors="strict"), unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("its path is not UTF-8") from None
    if ".." in path.split("/") or CONTROL.search(host + path):
        raise ValueError("its path must not hold '..' or control characters")
    if scheme.local and ("/" in host or host in (".", "..")):
        raise ValueError(f"'{host}' is no label, UUID or name in /dev/disk/by-id")
    if len([part for part in path.split("/") if part]) < max(
        scheme.own + beside, 0 if scheme.local or scheme.bucket else 1
    ):
        raise ValueError(f"it must be {scheme.form}" + ("/NAME" if beside else ""))
    return text


def is_server(host: str, url: str) -> bool:
    """Return whether the HOST or HOST:PORT of a URL is one: names, a port, in brackets an IPv6 address."""
    if not _HOST.fullmatch(host):
        return False
    try:
        parts = urlsplit(url)
        if "[" in parts.netloc:
            ipaddress.IPv6Address(parts.hostname or "")
        return parts.port != 0
    except ValueError:
        return False
