"""From a kernel command line, and the file that lvpack.config names, to Settings."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lvpack_agent.errors import Refused
from lvpack_agent.settings.readers import CONTROL
from lvpack_agent.settings.table import BY_NAME, OPTIONS, PREFIX, Option
from lvpack_agent.settings.values import Settings


def words(command_line: str) -> list[str]:
    """Split a kernel command line at white space outside double quotes and drop the quotes (kernel: next_arg())."""
    return [w.replace('"', "") for w in re.findall(r'(?:[^\s"]|"[^"]*"?)+', command_line)]


def check_words(arguments: Iterable[str]) -> None:
    """Raise Refused for the first unknown or malformed `lvpack.*` word; missing options may still be added at boot."""
    _settings(_given(arguments))


def parse(arguments: Iterable[str], fetch: Callable[[str], str] | None = None) -> Settings | None:
    """Read the `lvpack.*` words of a command line; None if there is none of them.

    As in the kernel, the last of several values wins, except for repeatable options. fetch returns the text behind
    the URL of lvpack.config; without it that file stays unread. Raises Refused that names the first unknown or
    malformed option, or the one that the action needs and that is missing.
    """
    given = _given(arguments)
    if not given:
        return None
    settings = _settings(given)
    if settings.config and fetch:
        settings = _settings({**_given(_file_words(fetch(settings.config))), **given})
    needed = {"backup": "target", "restore": "source", "verify": "source"}.get(settings.action)
    if needed and not getattr(settings, needed):
        raise Refused(
            f"cannot {settings.action}: option '{PREFIX}{needed}' is missing",
            hint=f"give {PREFIX}{needed}={BY_NAME[needed].values}",
        )
    _refuse_contradictions(settings)
    return settings


def _refuse_contradictions(settings: Settings) -> None:
    if settings.mode == "inplace" and settings.scratch == "ram":
        raise Refused(
            f"cannot shrink in place with '{PREFIX}scratch=ram': a power loss would take the store away in the middle",
            hint=f"leave {PREFIX}scratch out (the store is on the share then), or name an empty disk or partition",
        )
    if settings.mode == "inplace" and settings.errors == "skip":
        raise Refused(
            f"cannot shrink in place with '{PREFIX}errors=skip': it writes the disk, which nobody should do to one "
            "with bad sectors",
            hint=f"leave {PREFIX}mode=inplace out: overlay mode leaves the source as it is",
        )
    if settings.mode == "overlay" and (settings.regrow or not settings.dump):
        option = f"{PREFIX}regrow=yes" if settings.regrow else f"{PREFIX}dump=no"
        raise Refused(
            f"cannot use option '{option}' in overlay mode: it leaves the source as it is",
            hint=f"give {PREFIX}mode=inplace as well, or leave {option} out; {PREFIX}action=plan shows a plan only",
        )
    if settings.regrow and not (settings.dump and settings.readback):
        option = f"{PREFIX}readback=no" if settings.dump else f"{PREFIX}dump=no"
        raise Refused(
            f"cannot use option '{PREFIX}regrow=yes' with '{option}': the source gets its former sizes back only when "
            "an image is known to be good",
            hint="leave one of them out",
        )


def _file_words(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if not key:
            continue
        if not equals or not key.startswith(PREFIX) or key == f"{PREFIX}config":
            raise Refused(
                f"cannot use line {number} of {PREFIX}config: '{line.strip()}'",
                hint=f"a line is {PREFIX}KEY = VALUE, and KEY is not config",
            )
        yield f"{key}={value}"


def _given(arguments: Iterable[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for word in arguments:
        if not word.startswith(PREFIX):
            continue
        key, equals, text = word.removeprefix(PREFIX).partition("=")
        if key not in BY_NAME:
            raise Refused(
                f"cannot use option '{PREFIX}{key}': there is no such option",
                hint=f"the options are {', '.join(PREFIX + name for name in BY_NAME)}",
            )
        if not equals:
            raise Refused(f"cannot use option '{word}': it has no value", hint=f"write {word}=VALUE")
        given.setdefault(key, []).append(text)
    return given


def _settings(given: dict[str, list[str]]) -> Settings:
    values: dict[str, Any] = {}
    for option in OPTIONS:
        texts = given.get(option.name, [option.default])
        read = [_value(option, text, explicit=option.name in given) for text in texts]
        values[option.name] = tuple(read) if option.repeatable else read[-1]
    return Settings(**values)


def _value(option: Option, text: str, *, explicit: bool) -> Any:
    if not explicit and not text:
        return ""
    try:
        if CONTROL.search(text):
            raise ValueError("it has control characters")
        return option.read(text)
    except ValueError as error:
        raise Refused(
            f"cannot use option '{PREFIX}{option.name}={text}': {error}",
            hint=f"{PREFIX}{option.name} takes {option.values}",
        ) from None
