"""Boot menus from jinja2 templates."""

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from lvpack_agent.options import PREFIX

# gpt: a disk whose primary GPT was cut off while it was written is read by its backup (kernel-parameters).
KERNEL_ARGUMENTS = ("quiet", "loglevel=3", "gpt", "console=tty0", "console=ttyS0,115200")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A menu entry: its title and the kernel's arguments."""

    title: str
    arguments: str


def entries(arguments: Sequence[str]) -> tuple[Entry, ...]:
    """Return the menu: the default entry with the build's arguments, plan only, console menu, shell."""
    common = [*KERNEL_ARGUMENTS, *(a for a in arguments if not a.startswith(PREFIX))]
    own = [a for a in arguments if a.startswith(PREFIX)]
    choices = [
        ("lvpack", own),
        # The machine stays on, so that somebody can read it.
        ("lvpack: show the plan, touch nothing", [*own, f"{PREFIX}action=plan", f"{PREFIX}after=shell"]),
        ("lvpack: menu on the console", []),
        ("lvpack: shell", [f"{PREFIX}action=shell"]),
    ]
    return tuple(Entry(title=title, arguments=_quoted([*common, *extra])) for title, extra in choices)


def _quoted(arguments: Sequence[str]) -> str:
    # GRUB reads $, quotes, braces and the like as a shell does; single quotes keep them.
    return " ".join(a if a.replace("%", "").isidentifier() or _plain(a) else "'" + a + "'" for a in arguments)


def _plain(text: str) -> bool:
    return all(c.isalnum() or c in "._-=:/,%@+" for c in text)


def grub(arguments: Sequence[str]) -> str:
    """Return grub.cfg."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lvpack_builder"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("grub.cfg.j2").render(entries=entries(arguments))
