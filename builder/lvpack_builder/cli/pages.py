"""The manual pages, made from the commands and from the table of kernel options: what lvpack(1) and (7) say."""

from collections.abc import Iterator

import click

from lvpack_agent.settings.table import GROUPS, PREFIX, Option, in_group
from lvpack_builder.cli.roff import Entry, Page, Section

_TITLES = {"what": "What is done", "where": "Where things are", "how": "How it is done", "after": "What follows"}
assert tuple(_TITLES) == GROUPS

_ABOUT = (
    "lvpack turns a Linux server that lives on LVM into the smallest disk image that still boots, and puts such an "
    "image back on any machine it fits. `lvpack build` makes a live image. Booted on the server, with options on its "
    "kernel command line, it packs the disk and writes an image set to a share; the live image restores it.",
    "A disk image FILE may be raw, or qcow2 if its name ends in .qcow2. An IMAGE_SET is the folder that a backup has "
    "written to the share, or its URL; a SHARE is a folder with such sets, or its URL. URLs may be those of shares by "
    "SFTP, HTTP and S3; others are to be mounted before. ARG is a word of the kernel command line, such as "
    "`lvpack.action=plan`: lvpack.cmdline(7).",
)
_STATUS = (
    Entry(term="0", text="All went well."),
    Entry(term="1", text="Something failed. The message says what, and what to do."),
    Entry(term="2", text="The command was refused, and nothing was changed; or it could not be understood."),
    Entry(term="128 and more", text="A signal ended it: 128 and the number of the signal. What was begun was undone."),
)
_ENVIRONMENT = (
    Entry(
        term="LVPACK_CACHE",
        text="Folder for what can be made again: by default .cache/lvpack in a checkout, else lvpack in "
        "XDG_CACHE_HOME or ~/.cache. It needs 4 GiB.",
    ),
    Entry(term="LVPACK_ACCEL", text="QEMU's accelerator, such as kvm or tcg, instead of what was found to work."),
    Entry(term="ELEMENTS_PATH", text="More folders with diskimage-builder elements, separated by colons."),
    Entry(term="SOURCE_DATE_EPOCH", text="The date of all files in the live image, in seconds since 1970."),
)
_FILES = (
    Entry(term="out, lvpack-image", text="The live image: out in a checkout, else lvpack-image in the current folder."),
    Entry(term="run.log, run.result", text="In the cache: the console of the last `lvpack run`, and its result."),
)
_CMDLINE = (
    "Options of the lvpack live image on the kernel command line. If there is none, a menu comes up on the console and "
    "nothing is touched. An option that is unknown or malformed is named, and no disk is touched. The last of several "
    "values wins, except for options that are repeatable, which take all of them.",
    "The network is set up by ip=, BOOTIF= and nameserver=, with the meaning that they have in dracut.cmdline(7), as "
    "far as docs/network.md of the project says; console= names the consoles that lvpack speaks on.",
)


def lvpack(group: click.Group) -> Page:
    """Return lvpack(1)."""
    commands = tuple(_command(name, group.commands[name]) for name in group.commands)
    return Page(
        name="lvpack",
        number=1,
        summary=f"{group.help[:1].lower()}{group.help[1:]}".rstrip(".") if group.help else "",
        sections=(
            Section(title="SYNOPSIS", lines=tuple(f"lvpack {_usage(n, c)}" for n, c in group.commands.items())),
            Section(title="DESCRIPTION", paragraphs=_ABOUT),
            Section(title="COMMANDS", parts=commands),
            Section(title="EXIT STATUS", entries=_STATUS),
            Section(title="ENVIRONMENT", entries=_ENVIRONMENT),
            Section(title="FILES", entries=_FILES),
            Section(title="SEE ALSO", paragraphs=("lvpack.cmdline(7), lvm(8), qemu(1)",)),
        ),
    )


def cmdline() -> Page:
    """Return lvpack.cmdline(7)."""
    parts = tuple(Section(title=_TITLES[group], entries=tuple(map(_option, in_group(group)))) for group in GROUPS)
    return Page(
        name="lvpack.cmdline",
        number=7,
        summary="kernel command-line options of the lvpack live image",
        sections=(
            Section(title="DESCRIPTION", paragraphs=_CMDLINE),
            Section(title="OPTIONS", parts=parts),
            Section(title="SEE ALSO", paragraphs=("lvpack(1), bootparam(7), dracut.cmdline(7)",)),
        ),
    )


def _option(option: Option) -> Entry:
    facts = [f"Default: {option.default}."] if option.default else []
    facts += ["Repeatable."] if option.repeatable else []
    text = option.meaning[0].upper() + option.meaning[1:] + "."
    return Entry(term=f"{PREFIX}{option.name}=", value=option.values, text=" ".join([text, *facts]))


def _usage(name: str, command: click.Command) -> str:
    arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
    options = ["[OPTIONS]"] if any(isinstance(p, click.Option) for p in command.params) else []
    return " ".join([name, *options, *arguments])


def _argument(parameter: click.Argument) -> str:
    word = _values(parameter) or (parameter.name or "").upper()
    return word if parameter.required else f"[{word}]"


def _command(name: str, command: click.Command) -> Section:
    return Section(
        title=f"lvpack {_usage(name, command)}", paragraphs=(command.help or "",), entries=tuple(_entries(command))
    )


def _entries(command: click.Command) -> Iterator[Entry]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            value = "" if parameter.is_flag else parameter.metavar or _values(parameter) or "N"
            facts = [parameter.help or ""]
            facts += ["Repeatable."] if parameter.multiple else []
            facts += ["Required."] if parameter.required else []
            if isinstance(parameter.show_default, str):
                facts.append("FILES says what the default is.")
            elif parameter.show_default:
                facts.append(f"Default: {parameter.default}.")
            yield Entry(term=", ".join(parameter.opts), value=value, text=" ".join(fact for fact in facts if fact))


def _values(parameter: click.Parameter) -> str:
    return "|".join(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else ""
