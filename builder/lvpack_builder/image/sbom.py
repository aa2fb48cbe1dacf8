"""The bill of materials of an image, in CycloneDX 1.6 (ECMA-424)."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from lvpack_agent import VERSION
from lvpack_builder.image.packages import Package

NAME = "sbom.cdx.json"


def purl(package: Package) -> str:
    """Return the package URL: pkg:deb/debian/NAME@VERSION?arch=… (purl-spec; it does not encode colons)."""
    name, version = quote(package.name, safe=""), quote(package.version, safe=":")
    return f"pkg:deb/debian/{name}@{version}?arch={package.architecture}"


def render(packages: Sequence[Package], epoch: int) -> str:
    """Return the document; epoch, in seconds since 1970, is its time. It has no serial number, so builds agree."""
    components = [
        {"type": "library", "bom-ref": purl(p), "name": p.name, "version": p.version, "purl": purl(p)} for p in packages
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "operating-system", "bom-ref": "lvpack", "name": "lvpack", "version": VERSION},
        },
        "components": components,
    }
    return json.dumps(document, indent=1) + "\n"
