"""Debian mirrors, from the host's own apt configuration at run time, and what they have.

Only to refuse a build early: what is installed is checked by apt, with the archive's keys.
"""

import lzma
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Base URLs of Debian's archive and its security archive."""

    main: str
    security: str

    def suites(self, release: str) -> tuple[tuple[str, str], ...]:
        """Return URL and name of the suites that an image of a release is made from, as DIB's debian-minimal does."""
        return ((self.main, release), (self.main, f"{release}-updates"), (self.security, f"{release}-security"))


def parse(text: str) -> Mirrors:
    """Read `apt-get indextargets --format '$(SITE) $(CODENAME)'`. Raises Refused if no Debian archive is among them."""
    sites = [(site, suite) for site, _, suite in (line.partition(" ") for line in text.splitlines())]
    # A Debian archive is told from other vendors' by having "debian" as the last part of its path.
    mains = [site for site, _ in sites if site.rstrip("/").endswith("/debian")]
    security = [site for site, suite in sites if suite.endswith("-security") or "debian-security" in site]
    if not mains:
        raise Refused(
            "cannot find a Debian mirror: apt on this machine has none configured",
            hint="add one to /etc/apt/sources.list.d and run apt-get update",
        )
    return Mirrors(main=mains[0], security=security[0] if security else f"{mains[0].rstrip('/')}-security")


def read() -> Mirrors:
    """Return the mirrors that apt on this machine uses."""
    return parse(run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"]).stdout)


def check(mirrors: Mirrors, release: str, components: Iterable[str]) -> None:
    """Raise Refused if the archive does not answer, or has no such release or component."""
    for site, suite in mirrors.suites(release):
        url = f"{site.rstrip('/')}/dists/{suite}/Release"
        try:
            text = _read(url).decode(errors="replace")
        except urllib.error.HTTPError as error:
            raise Refused(
                f"cannot build from Debian release '{release}': the mirror has no {url} ({error.code})",
                hint="name another release, such as --release trixie, or another mirror in /etc/apt/sources.list.d",
            ) from None
        has = _components(text)
        for component in components:
            if component not in has:
                raise Refused(
                    f"cannot build with component '{component}': the mirror's {suite} has only {' '.join(has)}",
                    hint="build without --firmware, or name a full Debian mirror in /etc/apt/sources.list.d",
                )


def _components(release: str) -> list[str]:
    """Return the components that a Release file names; those of a security archive stand below updates/."""
    for line in release.splitlines():
        name, _, value = line.partition(":")
        if name == "Components":
            return [word.removeprefix("updates/") for word in value.split()]
    return []


def offered(mirrors: Mirrors, release: str, components: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return package → versions that an image of a release can have. Raises Refused if the archive does not answer."""
    found: dict[str, frozenset[str]] = {}
    for site, suite in mirrors.suites(release):
        for component in components:
            url = f"{site.rstrip('/')}/dists/{suite}/{component}/binary-amd64/Packages.xz"
            try:
                text = lzma.decompress(_read(url)).decode()
            except urllib.error.HTTPError as error:
                raise Refused(
                    f"cannot see what the mirror has: it has no {url} ({error.code})",
                    hint="name a full Debian mirror in /etc/apt/sources.list.d",
                ) from None
            for name, version in parse_packages(text):
                found[name] = found.get(name, frozenset()) | {version}
    return found


def parse_packages(text: str) -> list[tuple[str, str]]:
    """Return name and version of each package of a Packages file (deb822, a paragraph each)."""
    rows, name = [], ""
    for line in text.splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line.startswith("Version: "):
            rows.append((name, line[9:]))
    return rows


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Refused(
            f"cannot reach the Debian mirror at {url}: {reason}",
            hint="see that the network is up; mirrors come from /etc/apt/sources.list.d of this machine",
        ) from None
