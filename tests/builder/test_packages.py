import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lvpack_agent.errors import Failed, Refused
from lvpack_builder.image import packages, sbom
from lvpack_builder.image.packages import Package, Pins

# chroot TREE dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' adduser bash e2fsprogs zstd
RECORDED = """adduser 3.152 all
bash 5.2.37-2+b10 amd64
busybox-static 1:1.37.0-6+b9 amd64
base-files 13.8+deb13u8 amd64
"""
PINS = Pins(manifest=Path("old.json"), release="trixie", versions={"bash": "5.2.37-2+b10", "zstd": "1.5.7"})


def test_the_bill_of_materials_is_valid_cyclonedx() -> None:
    text = sbom.render(packages.parse(RECORDED), 1795194416)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["timestamp"] == "2026-11-20T17:06:56Z"
    assert [c["purl"] for c in document["components"]] == [
        "pkg:deb/debian/adduser@3.152?arch=all",
        "pkg:deb/debian/base-files@13.8%2Bdeb13u8?arch=amd64",
        "pkg:deb/debian/bash@5.2.37-2%2Bb10?arch=amd64",
        "pkg:deb/debian/busybox-static@1:1.37.0-6%2Bb9?arch=amd64",
    ]
    assert text == sbom.render(packages.parse(RECORDED), 1795194416)


def test_the_validator_sees_what_is_wrong() -> None:
    document = json.loads(sbom.render(packages.parse(RECORDED), 1795194416))
    del document["components"][0]["name"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_pins_are_apt_preferences() -> None:
    assert PINS.preferences() == (
        "Package: bash\nPin: version 5.2.37-2+b10\nPin-Priority: 1001\n\n"
        "Package: zstd\nPin: version 1.5.7\nPin-Priority: 1001\n"
    )


def test_a_version_that_is_gone_is_named_with_the_one_there_is() -> None:
    PINS.check_offered({"bash": frozenset(["5.2.37-2+b10"]), "zstd": frozenset(["1.5.7", "1.5.8"])})
    with pytest.raises(Refused, match=r"no longer has zstd 1\.5\.7 \(it has 1\.5\.8 and 1\.5\.9\)$"):
        PINS.check_offered({"bash": frozenset(["5.2.37-2+b10"]), "zstd": frozenset(["1.5.9", "1.5.8"])})
    with pytest.raises(Refused, match=r"bash 5\.2\.37-2\+b10 \(it has none\), zstd"):
        PINS.check_offered({})


def test_what_was_installed_must_be_what_was_pinned() -> None:
    PINS.check_installed(packages.parse(RECORDED))
    with pytest.raises(Failed, match=r"bash 6 instead of 5\.2\.37-2\+b10"):
        PINS.check_installed([Package(name="bash", version="6", architecture="amd64")])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"release": "trixie"}', '{"release": "trixie", "packages": ["a"]}'])
def test_only_a_manifest_pins(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(Refused, match="no manifest of a build"):
        packages.read_pins(tmp_path / "manifest.json")
    with pytest.raises(Refused, match="No such file"):
        packages.read_pins(tmp_path / "none.json")
