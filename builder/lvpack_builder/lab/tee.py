"""What a machine says, on its way to a transcript and to the terminal of whoever looks on."""

import codecs
import re
import sys
from typing import BinaryIO

from lvpack_agent.printable import escaped

_LINE_END = re.compile(r"\r+\n")
_SEQUENCE = re.compile(r"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]|\x1b[()][0-9A-Za-z]")
_UNFINISHED = re.compile(r"(?:\r+|\x1b(?:\[[0-?]{0,32}[ -/]{0,4}|[()])?)\Z")


class Tee:
    """Writes what a machine says to its transcript, and with echo to this terminal, which it cannot steer.

    Escape sequences of terminals (ECMA-48, 5.4), which firmware and boot menus print, are left out, and the CR of a
    line's end; all else that does not print is escaped, but for tabs.
    """

    def __init__(self, file: BinaryIO, echo: bool) -> None:
        self._file, self._echo = file, echo
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""

    def write(self, data: bytes) -> None:
        text = self._held + self._decoder.decode(data)
        # The rest may be the beginning of a sequence, or of a line's end.
        whole = _UNFINISHED.sub("", text)
        self._held = text[len(whole) :]
        self._put(whole)

    def close(self) -> None:
        """Write what was held back."""
        self._put(self._held + self._decoder.decode(b"", True))
        self._held = ""

    def _put(self, text: str) -> None:
        lines = _SEQUENCE.sub("", _LINE_END.sub("\n", text)).split("\n")
        text = "\n".join("\t".join(map(escaped, line.split("\t"))) for line in lines)
        self._file.write(text.encode())
        if self._echo:
            sys.stdout.write(text)

    def flush(self) -> None:
        self._file.flush()
        if self._echo:
            sys.stdout.flush()
