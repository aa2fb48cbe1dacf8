"""Debian packages and their versions: those of an image, and those that an earlier image pins."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.processes import run

# One line a package, for dpkg-query.
FORMAT = "${Package} ${Version} ${Architecture}\n"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """A Debian package."""

    name: str
    version: str
    architecture: str


def parse(text: str) -> tuple[Package, ...]:
    """Read the output of dpkg-query --showformat=FORMAT."""
    rows = [line.split(" ") for line in text.splitlines()]
    return tuple(sorted(Package(name=row[0], version=row[1], architecture=row[2]) for row in rows))


def of_tree(tree: Path) -> tuple[Package, ...]:
    """Return the packages of the live image's root filesystem."""
    return parse((tree / "usr/lib/lvpack/packages").read_text())


def of_this_machine(names: Iterable[str]) -> tuple[Package, ...]:
    """Return those of the named packages that are installed here."""
    command = ["dpkg-query", "--show", f"--showformat={FORMAT}", *sorted(set(names))]
    return parse(run(command, ok=(0, 1)).stdout)  # 1: one of them is not installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Package versions that a build must have, from the manifest of an earlier one."""

    manifest: Path
    release: str
    versions: Mapping[str, str]

    def preferences(self) -> str:
        """Return them for apt; above 1000 a version wins even over a newer one that is installed (apt_preferences)."""
        rows = [
            f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
            for name, version in sorted(self.versions.items())
        ]
        return "\n".join(rows)

    def check_offered(self, offered: Mapping[str, frozenset[str]]) -> None:
        """Raise Refused if the mirror, package → versions, lacks one; the first ones are named with both versions."""
        lost = [
            f"{name} {version} (it has {' and '.join(sorted(offered.get(name, ()))) or 'none'})"
            for name, version in sorted(self.versions.items())
            if version not in offered.get(name, ())
        ]
        if lost:
            raise Refused(
                f"cannot build with the versions of '{self.manifest}': the mirror no longer has {_some(lost)}",
                hint="use a mirror of that day, such as a snapshot, or build without --pin",
            )

    def check_installed(self, packages: Iterable[Package]) -> None:
        """Raise Failed if a package has another version than it should."""
        wrong = [
            f"{p.name} {p.version} instead of {self.versions[p.name]}"
            for p in packages
            if self.versions.get(p.name, p.version) != p.version
        ]
        if wrong:
            raise Failed(
                f"cannot build with the versions of '{self.manifest}': apt installed {_some(wrong)}",
                hint="build without --pin, or pin no packages that exclude each other",
            )


def _some(rows: list[str]) -> str:
    return ", ".join(rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def read_pins(manifest: Path) -> Pins:
    """Read the release and the packages of a manifest.json. Raises Refused if it is none."""
    try:
        facts = json.loads(manifest.read_text())
        versions = {str(name): str(version) for name, version in facts["packages"].items()}
        return Pins(manifest=manifest, release=str(facts["release"]), versions=versions)
    except OSError as error:
        raise Refused(
            f"cannot read '{manifest}': {error.strerror}", hint="name the manifest.json of an earlier build"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(
            f"cannot use the versions of '{manifest}': it is no manifest of a build",
            hint="name the manifest.json of an earlier build",
        ) from None
