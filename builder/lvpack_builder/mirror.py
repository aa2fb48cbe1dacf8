"""Debian mirrors, from the host's own apt configuration at run time."""

from dataclasses import dataclass

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Base URLs of Debian's archive and its security archive."""

    main: str
    security: str


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
