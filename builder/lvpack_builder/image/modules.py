"""Kernel modules: what depmod wrote about them (modules.dep(5), depmod(8))."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath


def name_of(path: str) -> str:
    """Return the name by which the kernel knows a module file, e.g. dm_mod for kernel/drivers/md/dm-mod.ko.xz."""
    return re.sub(r"\.ko(\.\w+)?$", "", PurePath(path).name).replace("-", "_")


def dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """Read modules.dep: module file → files of all that it needs, nearest first."""
    rows = (line.partition(":") for line in text.splitlines())
    return {path: tuple(needs.split()) for path, _, needs in rows}


def built_in(text: str) -> frozenset[str]:
    """Read modules.builtin: names of what the kernel has in itself."""
    return frozenset(name_of(line) for line in text.splitlines())


def loading_order(depends: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> list[str]:
    """Return the files of modules, by name, and of all they depend on. What is not a file is built in."""
    by_name = {name_of(path): path for path in depends}
    files: list[str] = []
    for name in wanted:
        if name in by_name:
            files += [f for f in [*reversed(depends[by_name[name]]), by_name[name]] if f not in files]
    return files
