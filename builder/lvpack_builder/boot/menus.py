"""Boot menus from jinja2 templates: for GRUB, pxelinux and iPXE."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from lvpack_agent.machine.console import named
from lvpack_agent.machine.watchdog import PANIC_SECONDS
from lvpack_agent.settings.table import PREFIX

# gpt: a disk whose primary GPT was cut off while it was written is read by its backup (kernel-parameters).
KERNEL_ARGUMENTS = ("quiet", "loglevel=3", "gpt")
CONSOLES = ("console=tty0", "console=ttyS0,115200")
SECONDS = 5
# An unattended machine whose kernel panics starts again, unless its disk may be half done then, and must not be booted
# by itself: the agent takes it back where only lvpack.config says that (machine/watchdog.py).
PANIC = f"panic={PANIC_SECONDS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A menu entry: its title and the kernel's arguments, each a word of its own."""

    title: str
    arguments: tuple[str, ...]

    def kernel_line(self) -> str:
        """Return the arguments as the kernel reads them from one line."""
        return " ".join(kernel_word(a) for a in self.arguments)

    def grub_line(self) -> str:
        """Return the arguments as GRUB reads them; it quotes for the kernel what has blanks in it."""
        return " ".join(a if _plain(a) else "'" + a + "'" for a in self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial:
    """The serial port that a menu is shown on beside the screen: its number and its speed in bit/s."""

    unit: int
    speed: int


def kernel_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return all arguments of the kernel; the usual consoles among them unless arguments name others."""
    consoles = () if any(a.startswith("console=") for a in arguments) else CONSOLES
    return (*KERNEL_ARGUMENTS, *consoles, *arguments)


def entries(arguments: Sequence[str]) -> tuple[Entry, ...]:
    """Return the menu: the default entry with the build's arguments, plan only, console menu, shell."""
    common = [a for a in kernel_arguments(arguments) if not a.startswith(PREFIX)]
    own = [a for a in arguments if a.startswith(PREFIX)]
    choices = [
        ("lvpack", own),
        # The machine stays on, so that somebody can read it.
        ("lvpack: show the plan, touch nothing", [*own, f"{PREFIX}action=plan", f"{PREFIX}after=shell"]),
        ("lvpack: menu on the console", []),
        ("lvpack: shell", [f"{PREFIX}action=shell"]),
    ]
    return tuple(Entry(title=title, arguments=(*_on_panic(extra), *common, *extra)) for title, extra in choices)


def _on_panic(own: Sequence[str]) -> tuple[str, ...]:
    """Return what the kernel gets for a panic, by the options of an entry: nothing where somebody shall see it."""
    changes = f"{PREFIX}action=restore" in own or f"{PREFIX}mode=inplace" in own
    given = dict(word.split("=", 1) for word in own if "=" in word)  # of several the last one counts
    return () if changes or given.get(f"{PREFIX}onerror", "shell") == "shell" else (PANIC,)


def serial(arguments: Sequence[str]) -> Serial | None:
    """Return the last serial port among the consoles; None if there is none."""
    consoles = named(" ".join(kernel_arguments(arguments)))
    found = [Serial(unit=int(n[4:]), speed=int(s or 9600)) for n, s in consoles.items() if re.fullmatch(r"ttyS\d+", n)]
    return found[-1] if found else None


def kernel_word(word: str) -> str:
    """Return an argument as the kernel's command line has it: with double quotes if there are blanks in it."""
    if " " not in word:
        return word
    key, equals, value = word.partition("=")
    return f'{key}="{value}"' if equals and " " not in key else f'"{word}"'


def _plain(text: str) -> bool:
    # GRUB reads $, quotes, braces and the like as a shell does; single quotes keep them.
    return all(c.isalnum() or c in "._-=:/,%@+" for c in text)


def render(template: str, arguments: Sequence[str] = (), secrets: str = "", **values: Any) -> str:
    """Return a template of this package with the menu of these arguments.

    secrets is the path of an initrd with secrets, beside initrd.img or below; "" if there is none.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lvpack_builder.boot"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        entries=entries(arguments), serial=serial(arguments), seconds=SECONDS, secrets=secrets, **values
    )
