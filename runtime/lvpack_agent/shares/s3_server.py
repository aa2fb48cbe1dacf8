"""A server of S3: each request is signed, and its errors are named."""

import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPResponse
from ssl import SSLContext
from typing import ClassVar
from urllib.parse import quote

from lvpack_agent.errors import Failed
from lvpack_agent.printable import printable
from lvpack_agent.session import Session
from lvpack_agent.shares import proxy
from lvpack_agent.shares.http_send import Body
from lvpack_agent.shares.http_wire import Http
from lvpack_agent.shares.http_words import tree
from lvpack_agent.shares.rate import Rate
from lvpack_agent.shares.s3_sign import Signer
from lvpack_agent.shares.server_clock import AGREED_SECONDS, MachineClock, dated, shown
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Gone
from lvpack_agent.sizes import KIB

_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
# What passes, whatever the status ("RequestTimeout" has 400, "OperationAborted" 409; AWS: "Error responses").
_PASSING_CODES = {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}


class Signed(Http):
    """A server of S3: each request is signed. A clock that the server calls wrong is set by the server's, for that."""

    passing = (*Http.passing, 429, 500)
    # 409 is for what goes on at the same time, or has an error of its own: its code says it.
    errors: ClassVar[Mapping[int, int]] = {status: number for status, number in Http.errors.items() if status != 409}

    def __init__(
        self,
        url: ShareUrl,
        access: Access,
        context: SSLContext | None,
        signer: Signer,
        session: Session,
        rate: Rate | None,
    ) -> None:
        clock = MachineClock(access.set_time, session.warn)
        super().__init__(url, access.secrets, context, proxy.named_by(access), rate, clock)
        self._signer, self._session, self._ahead = signer, session, 0.0
        self.path_style = access.options.path_style

    @property
    def is_known(self) -> bool:
        """True: each request says who we are."""
        return True

    def path(self, name: str, *, folder: bool = False) -> str:
        """Return the path of a name, encoded as it is signed."""
        return quote(f"{self.url.path.rstrip('/')}/{name}".rstrip("/"), safe="/~") + ("/" if folder else "")

    def signed(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> dict[str, str]:
        """Return the headers of a request with its signature."""
        return self._signer.headers(method, path, headers, body, self._host(), time.time() + self._ahead)

    def _check(self, method: str, response: HTTPResponse) -> None:
        if response.status < 300:
            return
        code = text_of(self._read(response, 64 * KIB), "Code") if method != "HEAD" else ""
        self.drop()
        now, theirs = time.time(), dated(response.headers.get("Date"))
        if code == "RequestTimeTooSkewed" and not self._ahead and theirs and abs(theirs - now) > AGREED_SECONDS:
            self._ahead = theirs - now
            self._session.warn(
                f"the clock of this machine says {shown(now)} UTC, the server's {shown(theirs)}: "
                "requests are signed by the latter"
            )
            raise Gone("the clocks differ")
        if code in _PASSING_CODES:
            raise Gone(printable(code))
        if code in _KEYS or response.status == 401:
            raise Failed(
                f"cannot log in at {self._host()}: {printable(code or f'401 {response.reason}')}",
                hint="check secret 's3' (ACCESS-KEY:SECRET-KEY), and lvpack.share=region=",
            )
        if code == "NoSuchBucket":
            raise Failed(
                f"cannot use share at {self._host()}: there is no such bucket", hint="make it, or correct the URL"
            )
        if response.status == 403:
            raise PermissionError(errno.EACCES, f"Permission denied{f' ({printable(code)})' if code else ''}")
        raise self.refusal(response.status, code or response.reason)


def text_of(body: bytes, name: str) -> str:
    """Return what an answer in XML has under a name; "" if it has nothing, or is none."""
    with suppress(OSError):
        return tree(body).findtext(f"{{*}}{name}") or ""
    return ""
