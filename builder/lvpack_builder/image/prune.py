"""What of Debian's root filesystem goes into the live image: the rules of prune.list, and what the kept files need.

Files are named by their path in the tree, from "/", with no symbolic link on the way.
"""

import lzma
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_builder.image import elf, modules

RULES = Path(__file__).parent / "prune.list"
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib")
VERBS = ("keep", "drop", "needed")
PACKAGE = "package:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of prune.list: its verb, and a path or package:NAME, in which `*` stands within a name."""

    verb: str
    pattern: str

    def matches(self, text: str) -> bool:
        """Tell whether the rule names a path, or "package:NAME"; what is below a path follows it."""
        return bool(_compiled(self.pattern).fullmatch(text))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(part) for part in pattern.split("*")))


def parse(text: str) -> list[Rule]:
    """Read prune.list. Raises Failed, naming the line, if it is no rule."""
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in VERBS or not words[1].startswith(("/", PACKAGE)):
            raise Failed(
                f"cannot read rule '{line}' in line {number} of prune.list: it is not VERB PATH",
                hint=f"verbs are {', '.join(VERBS)}",
            )
        rules.append(Rule(verb=words[0], pattern=words[1]))
    return rules


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


def verdicts(tree: Tree, rules: Sequence[Rule], owners: Mapping[str, str]) -> dict[str, str]:
    """Return the verb for each path: the last rule that names it or a folder above it; keep if there is none.

    owners: file → Debian package.
    """
    numbered = list(enumerate(rules))
    of_package = {p: _last(numbered, f"{PACKAGE}{p}") for p in set(owners.values())}
    found: dict[str, str] = {}
    last = {"": -1}
    for folder in sorted(tree.folders):  # a folder comes before what is in it
        for path in tree.folders[folder]:
            last[path] = max(_last(numbered, path), last[folder], of_package.get(owners.get(path, ""), -1))
            found[path] = rules[last[path]].verb if last[path] >= 0 else "keep"
    return found


def _last(numbered: Sequence[tuple[int, Rule]], text: str) -> int:
    return next((number for number, rule in reversed(numbered) if rule.matches(text)), -1)


def select(tree: Tree, verdict: Mapping[str, str], needs: Callable[[str], Iterable[str]]) -> set[str]:
    """Return the paths to keep, folders among them; needs tells which paths a file cannot do without.

    Raises Failed, naming both, if a rule drops what a kept file needs.
    """
    kept = {path for path, verb in verdict.items() if verb == "keep" and path not in tree.folders}
    todo = sorted(kept)
    while todo:
        path = todo.pop()
        for wanted in needs(path):
            if wanted in kept or (tree.links[path] and verdict[wanted] == "drop"):
                continue  # a link without an end goes below
            if verdict[wanted] == "drop":
                raise Failed(f"cannot leave '{wanted}' out of the live image: '{path}' needs it")
            kept.add(wanted)
            todo.append(wanted)
    # Folders that were empty are places to mount or write; those that have become so are gone.
    kept |= {path for path, names in tree.folders.items() if not names and verdict[path] == "keep"}
    for path in sorted(kept):
        kept.update(str(above) for above in PurePosixPath(path).parents if str(above) != "/")
    # A link whose end is gone says nothing; one that led nowhere before (to /proc, /run) is meant.
    return {path for path in kept if not tree.links[path] or (tree.resolve(path)[0] or path) in kept}


class Needs:
    """What the files of a tree need: programs their libraries, modules other modules, scripts their interpreter."""

    def __init__(self, root: Path, tree: Tree) -> None:
        self._root = root
        self._tree = tree
        self._modules: dict[str, tuple[str, ...]] = {}
        for folder in tree.folders.get("/usr/lib/modules", ()):
            text = (root / f"{folder[1:]}/modules.dep").read_text()
            for path, depends in modules.dependencies(text).items():
                self._modules[f"{folder}/{path}"] = tuple(f"{folder}/{name}" for name in depends)

    def __call__(self, path: str) -> Iterable[str]:
        """Return what a file needs. Raises Failed if the tree lacks a library."""
        if self._tree.links[path]:
            end, passed = self._tree.resolve(path)
            return [*passed, end] if end and end not in self._tree.folders else []
        if path in self._modules:
            return self._modules[path]
        file = self._root / path[1:]
        if not S_ISREG(file.lstat().st_mode):
            return []
        found = elf.read(file)
        wanted = [self._found(path, [found.interpreter])] if found.interpreter else []
        folders = [folder.replace("$ORIGIN", path.rpartition("/")[0]) for folder in found.folders]
        for name in found.libraries:
            wanted.append(self._found(path, [f"{folder}/{name}" for folder in (*folders, *LIBRARIES)]))
        return [one for several in wanted for one in several]

    def _found(self, path: str, places: Sequence[str]) -> list[str]:
        for place in places:
            end, passed = self._tree.resolve(place)
            if end:
                return [*passed, end]
        raise Failed(f"cannot pack '{path}' into the live image: it needs '{places[0]}', which is nowhere")


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


def orphans(root: Path, tree: Tree, kept: set[str]) -> set[str]:
    """Return the kept scripts whose interpreter is not kept."""
    found = set()
    for path in kept - set(tree.folders):
        file = root / path[1:]
        status = file.lstat()
        if S_ISREG(status.st_mode) and status.st_mode & 0o111:
            with file.open("rb") as text:
                line = text.readline(200)
            words = line[2:].split() if line.startswith(b"#!") else []
            if words and tree.resolve(words[0].decode())[0] not in kept:
                found.add(path)
    return found


def prune(root: Path, out: Path) -> None:
    """Copy to the folder out what the live image keeps of a tree, its modules unpacked and known to depmod."""
    tree = Tree.of(root)
    verdict = verdicts(tree, parse(RULES.read_text()), owners(root, tree))
    kept = select(tree, verdict, Needs(root, tree))
    kept -= orphans(root, tree, kept)
    out.mkdir()
    names = "".join(f".{path}\n" for path in sorted(kept))
    run(["cpio", "--pass-through", "--preserve-modification-time", "--quiet", out], input=names, cwd=root)
    for packed in sorted(out.glob("usr/lib/modules/*/**/*.ko.xz")):
        module = packed.with_suffix("")
        module.write_bytes(lzma.decompress(packed.read_bytes()))
        shutil.copystat(packed, module)
        packed.unlink()
    for version in (out / "usr/lib/modules").iterdir():
        run(["chroot", out, "depmod", version.name])
