"""Shares by S3: objects in a bucket, whose names begin with what the URL has as its path.

S3 has no folders and no renames: a set is under its name from the beginning, and none until manifest.json is there.
OpenStack Swift's s3api was tried.
"""

import errno
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote, urlsplit

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.printable import printable
from lvpack_agent.session import Session
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares import tls
from lvpack_agent.shares.http import LIST_MOST, Dav
from lvpack_agent.shares.http_send import Body
from lvpack_agent.shares.http_words import Answer, tree
from lvpack_agent.shares.rate import Rate
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.remote_file import Look
from lvpack_agent.shares.s3_server import Signed, text_of
from lvpack_agent.shares.s3_sign import Signer, query
from lvpack_agent.shares.s3_upload import Upload, part_size
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.stored import Sink
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Waiting

_FOLDER = stat.S_IFDIR | 0o700
# What a writer of a set leaves in its place until the set is complete.
CLAIM = "lvpack-writes-"


@contextmanager
def opened(url: ShareUrl, folder: Path, access: Access, session: Session) -> Iterator[RemoteShare]:
    """Yield a share; folder is for what is about to be written. Raises Refused if an option or a secret is not fit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    where = endpoint(url, access)
    pair = access.secrets.need("s3", f"the keys for bucket {url.host}").decode(errors="replace")
    key, colon, secret = pair.rpartition(":")  # some access keys have a colon, no secret one has
    if not colon or not key or not secret:
        raise Refused("cannot use secret 's3': it is no pair of keys", hint="it is ACCESS-KEY:SECRET-KEY")
    signer = Signer(access=key, secret=secret, region=access.options.region or "us-east-1")
    waiting = Waiting(str(url), access.patience, session)
    context = tls.context(access.secrets, folder) if where.scheme == "https" else None
    # A part is sent when it is whole: what was slow before would go off at once then.
    rate = Rate(access.rate, session.is_ending) if access.rate else None
    server = Signed(where, access, context, signer, session, rate)
    parts = int(access.options.parts or 0)
    client = S3(server, waiting, url.host, parts, session.warn)
    try:
        client.greet()
        yield RemoteShare(
            name=str(url),
            folder=folder,
            no_journal=SCHEMES[url.scheme].inplace,
            remote=client,
            renames=False,
            rate=rate,
            sends_slowly=True,
            keeps=lambda most: part_size(most, parts),
        )
    finally:
        server.drop()


def endpoint(url: ShareUrl, access: Access) -> ShareUrl:
    """Return the URL of a bucket and prefix at the server that lvpack.share=endpoint= names."""
    if not access.options.endpoint:
        raise Refused(
            f"cannot use share '{url}': nothing says at which server", hint="lvpack.share=endpoint=https://HOST"
        )
    parts = urlsplit(access.options.endpoint)
    host, path = parts.hostname or "", url.path
    if access.options.path_style:
        path = f"/{url.host}{path}"
    else:
        host = f"{url.host}.{host}"
    return ShareUrl(scheme=parts.scheme, host=host, port=parts.port, path=path)


class S3(Dav):
    """A client of a server (Remote). Of what is there only what it has written itself is removed."""

    def __init__(
        self, server: Signed, waiting: Waiting, bucket: str, parts: int, warn: Callable[[str], object]
    ) -> None:
        """parts: how many an upload has at most, 0 if nobody says; warn gets what is no error, as what stays."""
        super().__init__(server, waiting)
        self._path_style, self._name = server.path_style, bucket
        self._parts, self._warn = parts, warn
        # In the order in which it was written.
        self._written: dict[str, None] = {}

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Body = b"", most: int = 0
    ) -> Answer:
        """Send a request, and wait for a server that is away."""
        return self._do(lambda: self._server.ask(method, path, headers, body, most))

    def greet(self) -> None:
        """See that the bucket is there, and lets us in."""
        self._list("", 1)

    def _list(self, folder: str, most: int = 1000) -> list[str]:
        bucket, prefix = self._bucket(folder)
        found, token = list[str](), ""
        while True:
            asked = {"list_type": "2", "prefix": prefix, "delimiter": "/", "max_keys": str(most)}
            asked |= {"continuation_token": token} if token else {}
            listed = tree(self.ask("GET", bucket + query(**asked), most=LIST_MOST).body)
            for path in ("{*}Contents/{*}Key", "{*}CommonPrefixes/{*}Prefix"):
                found += [(key.text or "").removeprefix(prefix).rstrip("/") for key in listed.iterfind(path)]
            token = listed.findtext("{*}NextContinuationToken") or ""
            if not token or most < 1000:
                return [name for name in found if name and "/" not in name]

    def _bucket(self, folder: str) -> tuple[str, str]:
        """Return the path of the bucket in a request, and what names below a folder begin with."""
        url = self._server.url
        first, _, rest = url.path.strip("/").partition("/")
        path, prefix = (f"/{quote(first, safe='~')}/", rest) if self._path_style else ("/", url.path.strip("/"))
        return path, "".join(f"{part}/" for part in (prefix, folder) if part)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return self._list(folder)

    def look(self, name: str) -> Look:
        """Look at what has a name; what names of objects begin with counts as a folder. Raises FileNotFoundError."""
        try:
            return super().look(name)
        except FileNotFoundError:
            if not self._list(name, 1):
                raise
            return Look(size=0, mode=_FOLDER, modified=0.0)

    def room(self) -> int | None:
        """Return None: S3 has no words for it."""
        return None

    @contextmanager
    def created(self, name: str, most: int = 0) -> Iterator[Sink]:
        """Yield what writes a new object of at most so many bytes; it is there at the end."""
        upload = Upload(self, self._server.path(name), part_size(most, self._parts), _found)
        try:
            yield upload.write
            # From here on it may be there, whatever becomes of the answer.
            self._written[name] = None
            try:
                upload.finish()
            except FileNotFoundError:
                # There is no such upload any more: it is complete, and the answer that said so was lost.
                if super().look(name).size != upload.size:
                    raise
        except BaseException:
            upload.abort()
            raise

    def make_folder(self, name: str) -> None:
        """Claim the place of a set. Raises FileExistsError if anything is there, or another writer has come as well."""
        if "/" in name:
            return  # there are no folders
        claim = f"{name}/{CLAIM}{token_hex(8)}"
        with self.created(claim) as sink:
            sink(b"\n")
        if self._list(name) != [claim.rpartition("/")[2]]:
            self.remove(claim)
            raise FileExistsError(errno.EEXIST, "File exists", name)

    def rename(self, old: str, new: str) -> None:
        """Let go of the place of a set that is complete. A claim that stays does no harm to it."""
        for name in [n for n in self._written if n.startswith(f"{new}/{CLAIM}")]:
            try:
                self.remove(name)
            except (OSError, Failed, Refused) as error:
                cause = error.strerror if isinstance(error, OSError) else error.message
                self._warn(f"cannot remove '{name}' from the share, which marked the set while it was written: {cause}")

    def replace(self, old: str, new: str) -> None:
        """Give an object a name, also if another one has it."""
        self.ask("PUT", self._server.path(new), {"x-amz-copy-source": self._source(old)})
        with suppress(PermissionError):  # keys may let write, and not remove
            self.remove(old)

    def _source(self, name: str) -> str:
        path = self._server.path(name)
        return path if self._path_style else f"/{quote(self._name, safe='~')}{path}"

    def remove(self, name: str) -> None:
        """Remove an object."""
        self.ask("DELETE", self._server.path(name))
        self._written.pop(name, None)

    def remove_all(self, name: str) -> None:
        """Remove what was written of a set, its manifest first; what others have put there stays.

        What cannot be removed keeps nothing else: its error is raised at the end.
        """
        errors = []
        for one in [n for n in reversed(self._written) if n.startswith(f"{name}/")]:
            try:
                self.remove(one)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _found(body: bytes, name: str) -> str:
    """Return what an answer has under a name. Raises OSError if it is another one, such as an error."""
    if not (text := text_of(body, name)):
        raise OSError(errno.EIO, f"the server says: {printable(text_of(body, 'Code') or 'nothing of ' + name)}")
    return text
