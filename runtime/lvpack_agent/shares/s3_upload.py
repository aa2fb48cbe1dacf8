"""A new object at a server of S3: one PUT if it is small, else a multipart upload, which is taken back if it fails."""

import xml.etree.ElementTree as xml
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.shares.http_send import Body
from lvpack_agent.shares.http_words import Answer
from lvpack_agent.shares.s3_sign import query
from lvpack_agent.sizes import MIB, round_up

# An upload has at most 10,000 parts, of at least 5 MiB but for the last (AWS: "Multipart upload limits").
MOST_PARTS, LEAST_PART = 9_000, 16 * MIB


class Client(Protocol):
    """What an upload needs of its client: a request, which waits for a server that is away."""

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Body = b"", most: int = 0
    ) -> Answer: ...


def part_size(most: int, parts: int = 0) -> int:
    """Return how large the parts of an object are that has at most so many bytes; 0: that is not known.

    parts is how many an upload has at most at that server; 0: as many as elsewhere.
    """
    return max(LEAST_PART, round_up(-(-most // (parts or MOST_PARTS)), MIB))


class Upload:
    """An object that is written in order; a part that does not arrive is sent again. path is that of the request.

    One part is in memory, and none twice. part is how many bytes it has.
    """

    def __init__(self, client: Client, path: str, part: int, find: Callable[[bytes, str], str]) -> None:
        self._client, self._path, self._find = client, path, find
        self._part, self._rest, self.size = part, bytearray(), 0
        self._id, self._tags = "", list[str]()

    def write(self, data: Body) -> None:
        """Write what comes next. Raises OSError as the server says."""
        rest = memoryview(data)
        while rest:
            if len(self._rest) == self._part:
                self._send()
            taken = rest[: self._part - len(self._rest)]
            self._rest += taken
            self.size, rest = self.size + len(taken), rest[len(taken) :]

    def _send(self) -> None:
        if not self._id:
            answer = self._client.ask("POST", self._path + "?uploads=", most=MIB)
            self._id = self._find(answer.body, "UploadId")
        where = query(partNumber=str(len(self._tags) + 1), uploadId=self._id)
        self._tags.append(self._client.ask("PUT", self._path + where, body=self._rest).headers.get("etag", ""))
        self._rest.clear()

    def finish(self) -> None:
        """Wait until the server has all. Raises OSError as it says; FileNotFoundError may be since it has all."""
        if not self._id:
            self._client.ask("PUT", self._path, body=self._rest)
            return
        self._send()
        whole = xml.Element("CompleteMultipartUpload")
        for number, tag in enumerate(self._tags, 1):
            part = xml.SubElement(whole, "Part")
            xml.SubElement(part, "PartNumber").text = str(number)
            xml.SubElement(part, "ETag").text = tag
        answer = self._client.ask("POST", self._path + query(uploadId=self._id), body=xml.tostring(whole), most=MIB)
        # It may have begun with 200 before it failed (AWS: CompleteMultipartUpload).
        self._find(answer.body, "ETag")

    def abort(self) -> None:
        """Take back what was sent of it; what cannot be taken back stays, and costs the owner of the bucket."""
        if self._id:
            with suppress(OSError, Failed, Refused):
                self._client.ask("DELETE", self._path + query(uploadId=self._id))
