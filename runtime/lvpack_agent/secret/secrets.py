"""The secrets of a run: looked for when they are needed, and gone when the run is over."""

import re
import resource
from collections.abc import Callable, Iterable
from contextlib import suppress

from lvpack_agent import guarded, places
from lvpack_agent.errors import Refused
from lvpack_agent.secret import firmware, stick
from lvpack_agent.secret.names import BY_NAME, MOST, in_header, line

HOW = (
    "give it by `lvpack build --secret {name}=FILE`, as secrets/{name} on a stick with the label LVPACK, or, to a "
    "virtual machine, by fw_cfg or SMBIOS"
)
# http.client shows the value of a header that it does not take.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def keep_out_of_core_dumps() -> None:
    """Let neither this process nor what it starts leave its memory in a file when it breaks (core(5))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fit(name: str, where: str, text: bytes) -> bytes:
    """Return a secret as it is used, one of one line without its end; where says whence it comes.

    Raises Refused, which shows nothing of it, if it is empty, too long, or one of one line that has something else.
    """
    is_line = BY_NAME[name].typed
    if is_line:
        text = line(text)
    if not text or len(text) > MOST:
        raise Refused(
            f"cannot use secret '{name}' of {where}: it has {len(text) or 'no'} bytes",
            hint=f"it has one to {MOST:,} of them",
        )
    if is_line and b"\n" in text:
        raise Refused(f"cannot use secret '{name}' of {where}: it has several lines", hint="it is one line")
    if is_line and _CONTROL.search(text):
        raise Refused(
            f"cannot use secret '{name}' of {where}: it has a control character",
            hint="it is one line of text: look at the file with `cat -A`",
        )
    if is_line and not in_header(name, text).isascii():
        raise Refused(
            f"cannot use secret '{name}' of {where}: what of it stands in a header of HTTP is not all ASCII",
            hint=f"it is {BY_NAME[name].meaning}",
        )
    return text


class Secrets:
    """The secrets of a run. how is lvpack.secrets: auto, ask or none.

    say gets a line for each that is found, which tells where, and nothing of it. ask returns a line that somebody has
    typed for a text that says what it is; None if nobody did.
    """

    def __init__(self, how: str, say: Callable[[str], object], ask: Callable[[str], bytes | None]) -> None:
        self._how, self._say, self._ask = how, say, ask
        self._found: dict[str, bytes] = {}
        self._looked = False

    def find(self, name: str) -> bytes | None:
        """Return a secret that need not be there; nobody is asked for it. Raises Refused if it is there and not fit."""
        if name not in self._found and (self._how == "none" or self._somewhere(name) is None):
            return None
        return self.need(name, "")

    def need(self, name: str, what: str) -> bytes:
        """Return a secret, one of one line without its end; what says what it is for.

        Raises Refused if it is nowhere, empty or too long.
        """
        if name not in self._found:
            where, text = self._looked_for(name, what)
            text = fit(name, where, text)
            self._say(f"secret {name}: by {where}")
            self._found[name] = text
        return self._found[name]

    def keep(self, names: Iterable[str]) -> None:
        """Take those of the initrd that have these names now, before forget(). One that is not fit is none."""
        for name in names:
            with suppress(Refused):
                if _from_initrd(name) is not None:
                    self.need(name, "")

    def _looked_for(self, name: str, what: str) -> tuple[str, bytes]:
        if self._how == "none":
            raise Refused(f"cannot find secret '{name}', {what}: lvpack.secrets=none", hint=HOW.format(name=name))
        if (found := self._somewhere(name)) is not None:
            return found
        if self._how == "ask" and BY_NAME[name].typed and (text := self._ask(f"{name}, {what}")) is not None:
            return "a console", text
        raise Refused(f"cannot find secret '{name}', {what}: it is nowhere", hint=HOW.format(name=name))

    def _stick(self, name: str) -> bytes | None:
        """Look on the stick, for which only the first look waits."""
        text = stick.from_stick(name, wait=not self._looked)
        self._looked = True
        return text

    def _somewhere(self, name: str) -> tuple[str, bytes] | None:
        sources: tuple[tuple[str, Callable[[str], bytes | None]], ...] = (
            ("the initrd", _from_initrd),
            ("QEMU's fw_cfg", firmware.from_fw_cfg),
            ("SMBIOS", firmware.from_smbios),
            ("the stick LVPACK", self._stick),
        )
        for where, read in sources:
            if (text := read(name)) is not None:
                return where, text
        return None


def forget() -> None:
    """Remove the secrets of the initrd, when a run is over: one that comes later finds them no more.

    So do the keys go that an agent has left which was killed (shares.ssh).
    """
    for folder in (places.SECRETS, *sorted(places.RUN.glob(f"*{places.KEYS}"))):
        guarded.wipe_folder(folder)


def _from_initrd(name: str) -> bytes | None:
    try:
        return guarded.read_bytes(places.SECRETS / name, MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(
            f"cannot use secret '{name}' of the initrd: {error.strerror}", hint="build the image anew"
        ) from None
