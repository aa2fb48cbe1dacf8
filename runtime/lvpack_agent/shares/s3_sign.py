"""AWS Signature Version 4 for S3, by which each request is signed (AWS: "Authenticating Requests").

The payload is part of it, so that a server keeps nothing but what was sent.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

_ALGORITHM, _SERVICE = "AWS4-HMAC-SHA256", "s3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A pair of keys, and the region that they are used in."""

    access: str
    secret: str = field(repr=False)
    region: str

    def headers(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | bytearray, host: str, now: float
    ) -> dict[str, str]:
        """Return the headers of a request with its signature; path as it stands in the request, now in seconds."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        digest = hashlib.sha256(body).hexdigest()
        whole = {**headers, "Host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest}
        # Those that a proxy may change are not signed.
        signed = {k.lower(): " ".join(v.split()) for k, v in whole.items() if k.lower().startswith(("x-amz-", "host"))}
        names = ";".join(sorted(signed))
        where, _, query = path.partition("?")
        lines = [method, where, query, *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, digest]
        scope = f"{stamp[:8]}/{self.region}/{_SERVICE}/aws4_request"
        text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
        key = b"AWS4" + self.secret.encode()
        for part in (stamp[:8], self.region, _SERVICE, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={self.access}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**whole, "Authorization": f"{_ALGORITHM} {credential}"}


def query(**values: str) -> str:
    """Return a query as it is signed: sorted, and encoded but for letters, digits and "-._~"."""
    pairs = sorted((quote(k.replace("_", "-"), safe="~"), quote(v, safe="~")) for k, v in values.items())
    return "?" + "&".join(f"{k}={v}" for k, v in pairs)
