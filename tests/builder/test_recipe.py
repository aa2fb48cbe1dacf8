import http.server
import lzma
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_builder.image import mirror
from lvpack_builder.image.mirror import Mirrors
from lvpack_builder.image.packages import Pins
from lvpack_builder.image.recipe import Recipe
from lvpack_builder.paths import elements_dir

# head -9 dists/trixie/Release and dists/trixie-security/Release of a mirror
RELEASE = "Suite: stable\nCodename: trixie\nComponents: main contrib non-free-firmware non-free\n"
SECURITY = "Components: updates/main updates/contrib updates/non-free-firmware updates/non-free\n"
PACKAGES = "Package: bash\nSection: shells\nVersion: 5.2.37-2\n\nPackage: zstd\nVersion: 1.5.7\n"


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    """A Debian mirror that has as much as is asked for, by HTTP."""
    for suite, release in (("trixie", RELEASE), ("trixie-updates", RELEASE), ("trixie-security", SECURITY)):
        folder = tmp_path / "dists" / suite
        (folder / "main/binary-amd64").mkdir(parents=True)
        (folder / "Release").write_text(release)
        packages = PACKAGES if suite == "trixie" else PACKAGES.replace("1.5.7", "1.5.8")
        (folder / "main/binary-amd64/Packages.xz").write_bytes(lzma.compress(packages.encode()))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Mirrors(main=url, security=url)
    server.shutdown()
    server.server_close()


def test_a_full_mirror_will_do(mirrors: Mirrors) -> None:
    Recipe(firmware=True).check_mirror(mirrors)
    found = mirror.offered(mirrors, "trixie", ["main"])
    assert found == {"bash": frozenset(["5.2.37-2"]), "zstd": frozenset(["1.5.7", "1.5.8"])}


def test_what_the_mirror_lacks_is_refused_before_a_build(mirrors: Mirrors, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"release 'potato'.*404"):
        Recipe(release="potato").check_mirror(mirrors)
    pins = Pins(manifest=Path("m"), release="trixie", versions={"zstd": "1.4"})
    with pytest.raises(Refused, match=r"zstd 1\.4 \(it has 1\.5\.7 and 1\.5\.8\)"):
        Recipe(pins=pins).check_mirror(mirrors)
    (tmp_path / "dists/trixie-security/Release").write_text("Components: updates/main\n")
    Recipe().check_mirror(mirrors)
    with pytest.raises(Refused, match="'non-free-firmware': the mirror's trixie-security has only main") as refused:
        Recipe(firmware=True).check_mirror(mirrors)
    assert "without --firmware" in refused.value.hint
    dead = Mirrors(main="http://127.0.0.1:9", security="http://127.0.0.1:9")
    with pytest.raises(Refused, match=r"cannot reach the Debian mirror.*refused"):
        Recipe().check_mirror(dead)


@pytest.mark.parametrize("release", ["", "13", "trixie; reboot", "../trixie"])
def test_a_release_that_is_no_name_is_refused(release: str) -> None:
    with pytest.raises(Refused, match="no code name"):
        Recipe(release=release).check()


def test_pins_of_another_release_are_refused() -> None:
    pins = Pins(manifest=Path("m"), release="bookworm", versions={})
    with pytest.raises(Refused, match="they are of release bookworm") as refused:
        Recipe(pins=pins).check()
    assert refused.value.hint == "add --release bookworm"


def test_an_element_that_is_nowhere_is_named_with_where_it_was_sought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEMENTS_PATH", str(tmp_path))
    with pytest.raises(Refused, match="'no-such-thing' not found") as refused:
        Recipe(elements=("no-such-thing",)).check()
    for folder in (str(tmp_path), str(elements_dir()), "diskimage_builder/elements"):
        assert folder in refused.value.hint
    with pytest.raises(Refused, match="one stands for another"):
        Recipe(elements=("ubuntu-minimal",)).check()
    monkeypatch.setenv("ELEMENTS_PATH", str(tmp_path / "missing"))
    with pytest.raises(Refused, match="is not a directory"):
        Recipe(elements=("own",)).check()


def test_the_files_of_elements_decide_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEMENTS_PATH", str(tmp_path))
    hook = tmp_path / "own/install.d/50-own"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    plain, own = Recipe(), Recipe(elements=("own",))
    assert "own" in dict(own.folders()) and "own" not in dict(plain.folders())
    keys = {plain.key(), own.key(), Recipe(firmware=True).key(), Recipe(release="bookworm").key()}
    hook.chmod(0o755)
    keys.add(own.key())
    hook.write_text("#!/bin/bash\n")
    keys.add(own.key())
    keys.add(Recipe(pins=Pins(manifest=Path("m"), release="trixie", versions={"zstd": "1.5.7"})).key())
    assert len(keys) == 7
    assert plain.key() in keys and own.key() in keys, "a key depends on nothing else"
