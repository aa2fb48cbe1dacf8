"""Secrets of a build: files that go into an initrd of their own, which stage 1 puts where the agent looks."""

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_agent.secret.names import BY_NAME, MOST
from lvpack_builder.image.initrd import write_cpio

# In the netboot kit; a machine with secrets of its own has them in hosts/.
COMMON = "secrets.img"
# Its sum is in SHA256SUMS, and must not tell a password to whoever tries some: the archive has this many random bytes.
SALT = 32


def secret_file(text: str) -> tuple[str, Path]:
    """Return name and file of NAME=FILE. Raises Refused if there is no secret of that name, or no such file."""
    name, equals, file = text.partition("=")
    if name not in BY_NAME:
        raise Refused(
            f"cannot use secret '{name}': there is none of that name", hint=f"the names are {', '.join(BY_NAME)}"
        )
    if not equals or not Path(file).is_file():
        raise Refused(f"cannot use secret '{name}': there is no file '{file}'", hint=f"write {name}=FILE")
    return name, Path(file)


def read_secrets(texts: Sequence[str]) -> dict[str, bytes]:
    """Return secrets by their names, of NAME=FILE; the last of a name counts. Raises Refused if one is not fit."""
    found = {}
    for name, file in map(secret_file, texts):
        try:
            with file.open("rb") as opened:
                data = opened.read(MOST + 1)
        except OSError as error:
            raise Refused(f"cannot use secret '{name}': {error.strerror}", hint=f"check '{file}'") from None
        if not data or len(data) > MOST:
            raise Refused(
                f"cannot use secret '{name}': '{file}' has {f'more than {MOST:,}' if data else 'no'} bytes",
                hint=f"a secret has one to {MOST:,}",
            )
        found[name] = data
    return found


def write_archive(found: Mapping[str, bytes], out: Path) -> None:
    """Write an archive of secrets that only its owner may read."""
    out.touch(mode=0o600)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:  # for its owner only
        root = Path(scratch) / "root"
        folder = root / "secrets"
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        for name, data in {**found, ".salt": secrets.token_bytes(SALT)}.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(data)
        write_cpio(root, out)
