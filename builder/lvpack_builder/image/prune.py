"""What of Debian's root filesystem goes into the live image: what the rules keep, and what the kept files need."""

import lzma
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_builder.image import elf, modules, rules
from lvpack_builder.image.tree import Tree, owners

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib")


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
    verdict = rules.verdicts(tree, rules.parse(rules.RULES.read_text()), owners(root, tree))
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
