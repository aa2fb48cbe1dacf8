"""The paths of a root filesystem, and which packages they are of.

Files are named by their path in the tree, from "/", with no symbolic link on the way.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tree:
    """The paths of a tree; what a symbolic link says, "" for all else; the names in each folder."""

    links: Mapping[str, str]
    folders: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, root: Path) -> "Tree":
        """Read a tree, on its own filesystem only."""
        links: dict[str, str] = {}
        folders: dict[str, list[str]] = {}
        todo = [""]
        while todo:
            folder = todo.pop()
            folders[folder] = []
            for entry in os.scandir(f"{root}{folder}/"):
                path = f"{folder}/{entry.name}"
                folders[folder].append(path)
                links[path] = str(Path(entry.path).readlink()) if entry.is_symlink() else ""
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
        return cls(links, folders)

    def resolve(self, path: str) -> tuple[str, list[str]]:
        """Return where a path leads, "" for nowhere, and the symbolic links on its way there."""
        at, rest = "", path.strip("/").split("/")
        passed: list[str] = []
        while rest:
            name, *rest = rest
            if name in ("", "."):
                continue
            if name == "..":
                at = at.rpartition("/")[0]
                continue
            at = f"{at}/{name}"
            if at not in self.links or len(passed) > 40:  # as many as the kernel follows (path_resolution(7))
                return "", passed
            if link := self.links[at]:
                passed.append(at)
                rest = [*link.strip("/").split("/"), *rest]
                at = "" if link.startswith("/") else at.rpartition("/")[0]
        return at, passed


def owners(root: Path, tree: Tree) -> dict[str, str]:
    """Return file → Debian package, from dpkg's lists, which still say /bin and /lib for what is under /usr."""
    found = {}
    for file in sorted((root / "var/lib/dpkg/info").glob("*.list")):
        package = file.stem.partition(":")[0]
        for path in file.read_text().splitlines():
            folder, _, name = path.rpartition("/")
            owned = f"{tree.resolve(folder)[0]}/{name}"
            if owned not in tree.folders:  # a folder is in the lists of all packages that have files in it
                found[owned] = package
    return found
