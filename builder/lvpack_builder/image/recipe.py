"""What a live image is made from: a Debian release, diskimage-builder elements, package versions."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from diskimage_builder import element_dependencies
from diskimage_builder.paths import get_path

from lvpack_agent.errors import Refused
from lvpack_builder.image import mirror
from lvpack_builder.image.packages import Pins
from lvpack_builder.paths import elements_dir

DEFAULT_RELEASE = "trixie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a user can choose of the root filesystem; elements are names, added to lvpack's own."""

    release: str = DEFAULT_RELEASE
    firmware: bool = False
    elements: tuple[str, ...] = ()
    pins: Pins | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """The components of Debian's archive."""
        return ("main", "non-free-firmware") if self.firmware else ("main",)

    @property
    def all_elements(self) -> tuple[str, ...]:
        """The elements for disk-image-create, without those that they need."""
        return ("lvpack-image", *(["lvpack-firmware"] if self.firmware else []), *self.elements)

    def key(self) -> str:
        """Return a hash of all that decides what diskimage-builder makes, but not of the archive's own state.

        Raises Refused as folders() does.
        """
        words = [self.release, *self.components, version("diskimage-builder")]
        words.append(self.pins.preferences() if self.pins else "")
        files = []
        for name, folder in self.folders():
            words.append(name)
            files += sorted(_files(folder))
        return hashed(words, [*files, Path(__file__).with_name("base.py")])

    def check(self) -> None:
        """Raise Refused if this cannot be built from: no name, pins of another release, or what folders() says."""
        if not re.fullmatch("[a-z]+", self.release):
            raise Refused(
                f"cannot build from Debian release '{self.release}': it is no code name",
                hint="name one, such as trixie",
            )
        if self.pins and self.pins.release != self.release:
            raise Refused(
                f"cannot build {self.release} with the versions of '{self.pins.manifest}': they are of release "
                f"{self.pins.release}",
                hint=f"add --release {self.pins.release}",
            )
        self.folders()

    def folders(self) -> list[tuple[str, Path]]:
        """Return name and folder of all elements, those that they need included.

        Raises Refused, with the folders that were searched, if there is no such element or two exclude each other.
        """
        path = elements_path()
        hint = f"name an element of one of {', '.join(path)}; ELEMENTS_PATH may add folders"
        try:
            return sorted((n, Path(p)) for n, p in element_dependencies.get_elements(self.all_elements, ":".join(path)))
        except element_dependencies.MissingElementException as error:
            raise Refused(f"cannot build the live image: {error}", hint=hint) from None
        except element_dependencies.AlreadyProvidedException:
            raise Refused(
                f"cannot build with elements {', '.join(self.elements)}: one stands for another that is there already",
                hint="the live image is made by debian-minimal; leave other systems out",
            ) from None
        except element_dependencies.InvalidElementDir as error:
            raise Refused(f"cannot search for elements: {error}", hint="correct ELEMENTS_PATH") from None

    def check_mirror(self, mirrors: mirror.Mirrors) -> None:
        """Raise Refused if the mirror does not answer or lacks the release, a component or a pinned version."""
        mirror.check(mirrors, self.release, self.components)
        if self.pins:
            self.pins.check_offered(mirror.offered(mirrors, self.release, self.components))


def elements_path() -> list[str]:
    """Return the folders that elements are searched in: lvpack's, the user's ELEMENTS_PATH, diskimage-builder's."""
    own = [folder for folder in os.environ.get("ELEMENTS_PATH", "").split(":") if folder]
    return [str(elements_dir()), *own, get_path("elements")]


def hashed(words: Iterable[str], files: Iterable[Path]) -> str:
    """Return a hash of words and of files: their names, whether they can be run, their bytes."""
    digest = hashlib.sha256(repr(list(words)).encode())
    for path in files:
        digest.update(f"{path.name} {path.stat().st_mode & 0o111}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(where) / name
            if path.is_file() and path.suffix != ".pyc":
                yield path
