"""What all end-to-end tests share: the built image, the pristine sample server, disks made from it."""

from pathlib import Path

import pytest

from lab.runs import Lab, fingerprint, sha256
from lvpack_builder.image.build import LiveImage, build
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.paths import cache_dir, locked, output_dir

# The files that take longest, longest first: begun last, one of them would keep one processor waiting for the other.
LONGEST = ("test_main_job", "test_inplace", "test_bad_input", "test_boot", "test_layouts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def image(testrun_uid: str) -> LiveImage:
    """The live image, built once for all processes of a test run (pytest-xdist)."""
    with locked("tests"):
        mark = cache_dir() / "image-of-test-run"
        if mark.exists() and mark.read_text() == testrun_uid:
            return LiveImage(folder=output_dir())
        image = build(output_dir())
        mark.write_text(testrun_uid)
        return image


@pytest.fixture(scope="session")
def pristine(image: LiveImage) -> Path:
    return make_sample(image)


@pytest.fixture(scope="session")
def source(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source disk of all backups, attached writable: if anything writes to it, its SHA-256 says so."""
    return sparse_copy(pristine, tmp_path_factory.mktemp("source") / "server.img")


@pytest.fixture(scope="session")
def source_sha256(source: Path) -> str:
    return sha256(source)


@pytest.fixture
def lab(image: LiveImage, tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    share = tmp_path / "share"
    share.mkdir()
    return Lab(image=image, folder=tmp_path, share=share, saved="saved_guest" in request.keywords)


@pytest.fixture(scope="session")
def source_fingerprint(source: Path) -> str:
    return fingerprint(source)


@pytest.fixture(scope="session")
def before(image: LiveImage, pristine: Path) -> Inventory:
    """What is on the sample server."""
    return inventory.take(image, Drive(path=pristine))


@pytest.fixture(scope="session")
def packed(image: LiveImage, source: Path, source_sha256: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image set of the sample server, made in overlay mode, by UEFI, from a disk that must not change."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "share").mkdir()
    lab = Lab(image=image, folder=folder, share=folder / "share")
    report = lab.run(
        [Drive(path=source)], "lvpack.action=backup", "lvpack.target=.", firmware="uefi", boot="iso", cpus=2
    )
    assert report.status == "ok", report
    assert sha256(source) == source_sha256
    [image_set] = lab.share.iterdir()
    assert image_set.name == report.name
    assert image_set.name.startswith("blogserver-")
    return image_set
