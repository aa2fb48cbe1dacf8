"""From a kernel command line, and the file that lvpack.config names, to Settings."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lvpack_agent.errors import Refused
from lvpack_agent.settings.share_options import BY_NAME as SHARE_BY_NAME
from lvpack_agent.settings.share_options import given_options
from lvpack_agent.settings.table import BY_NAME, OPTIONS, PREFIX, Option
from lvpack_agent.settings.urls import CONTROL, masked, scheme_of
from lvpack_agent.settings.values import Settings


def words(command_line: str) -> list[str]:
    """Split a kernel command line at white space outside double quotes and drop the quotes (kernel: next_arg())."""
    return [w.replace('"', "") for w in re.findall(r'(?:[^\s"]|"[^"]*"?)+', command_line)]


def check_words(arguments: Iterable[str]) -> None:
    """Raise Refused for the first unknown or malformed `lvpack.*` word; missing options may still be added at boot."""
    _settings(_given(arguments))


def parse(arguments: Iterable[str], fetch: Callable[[Settings], str] | None = None) -> Settings | None:
    """Read the `lvpack.*` words of a command line; None if there is none of them.

    As in the kernel, the last of several values wins, except for repeatable options. fetch returns the text behind the
    URL of lvpack.config, by the settings that are known before; without it that file stays unread. Raises Refused that
    names the first unknown or malformed option, or the one that the action needs and that is missing.
    """
    given = _given(arguments)
    if not given:
        return None
    settings = _settings(given)
    if settings.config and fetch:
        settings = _settings({**_given(_file_words(fetch(settings))), **given})
    needed = {"backup": "target", "restore": "source", "verify": "source"}.get(settings.action)
    if needed and not getattr(settings, needed):
        raise Refused(
            f"cannot {settings.action}: option '{PREFIX}{needed}' is missing",
            hint=f"give {PREFIX}{needed}={BY_NAME[needed].values}",
        )
    _refuse_contradictions(settings)
    return settings


def _refuse_contradictions(settings: Settings) -> None:
    _refuse_for_share(settings)
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


def _refuse_for_share(settings: Settings) -> None:
    """Raise Refused if the shares that are named have no such option, or cannot do what is asked of them."""
    urls = [url for url in (settings.target, settings.source, settings.config) if url]
    schemes = {url.partition("://")[0] for url in urls}
    for name in given_options(settings.share):
        option = SHARE_BY_NAME[name]
        if not schemes & {*option.schemes}:
            raise Refused(
                f"cannot use option '{PREFIX}share={name}': {', '.join(f'{s}://' for s in option.schemes)} has it, and "
                f"there is no such share ({', '.join(urls) or 'none at all'})",
                hint=f"leave {name} out of {PREFIX}share",
            )
    if settings.action != "backup" or not settings.target:
        return
    target, name = scheme_of(settings.target), settings.target.partition("://")[0]
    if settings.readers == "group" and not target.owners:
        raise Refused(
            f"cannot use option '{PREFIX}readers=group' with a share by {name}://: its files have no group here",
            hint="leave it out, and set on the server who may read the share",
        )
    if settings.mode == "inplace" and target.inplace:
        raise Refused(
            f"cannot shrink in place with a share by {name}://: {target.inplace}",
            hint="the journal of in-place mode needs a share by nfs://, or by file:// on a disk with ext or XFS; "
            "overlay mode takes this one",
        )
    if settings.scratch == "share" and target.inplace:
        raise Refused(
            f"cannot use option '{PREFIX}scratch=share' with a share by {name}://: {target.inplace}",
            hint=f"leave {PREFIX}scratch out (the store is in memory then), or name an empty disk or partition",
        )


def _file_words(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if not key:
            continue
        if not equals or not key.startswith(PREFIX) or key == f"{PREFIX}config":
            raise Refused(
                f"cannot use line {number} of {PREFIX}config: '{masked(line.strip())}'",
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
                f"cannot use option '{PREFIX}{masked(key)}': there is no such option",
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
        values[option.name] = tuple(filter(None, read)) if option.repeatable else read[-1]
    return Settings(**values)


def _value(option: Option, text: str, *, explicit: bool) -> Any:
    if not explicit and not text:
        return option.unset
    try:
        if CONTROL.search(text):
            raise ValueError("it has control characters")
        return option.read(text)
    except ValueError as error:
        raise Refused(
            f"cannot use option '{PREFIX}{option.name}={option.shown(text)}': {error}",
            hint=f"{PREFIX}{option.name} takes {option.values}",
        ) from None
