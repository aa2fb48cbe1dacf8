"""What all end-to-end tests share: the built image, the pristine sample server, disks made from it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from lab.results import Recorder
from lab.runs import Lab, fingerprint
from lab.shared import shared
from lvpack_builder.image.build import LiveImage, build
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive
from lvpack_builder.lab.sample.server import drives_of, make_disks, make_sample
from lvpack_builder.paths import output_dir

# The recipe of the sample server.
SERVER = "server"

# What takes longest, longest first, by group or name: begun last, one of them would keep one processor waiting for the
# other.
LONGEST = (
    "packed",
    "test_power_cuts_at_each_kind_of_moment",
    "in place",
    "test_further_disks_come_too",
    "test_a_journal_that_is_not_of_the_disk",
    "test_clones_on_one_share_at_the_same_time",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--go-on", action="store_true", help="leave out what has passed with the files that are there")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config), "lvpack-results")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests; those that share what only one process should make have a group (pytest-xdist)."""

    def rank(item: pytest.Item) -> int:
        group = item.get_closest_marker("xdist_group")
        name = group.args[0] if group else item.name
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> LiveImage:
    """The live image, built once for all processes of a test run (pytest-xdist)."""
    shared(tmp_path_factory, "image", lambda _: build(output_dir()))
    return LiveImage(folder=output_dir())


@pytest.fixture(scope="session")
def pristine(image: LiveImage) -> Path:
    return make_sample(image, SERVER)


@pytest.fixture(scope="session")
def source(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source disk of all backups, attached writable: if anything writes to it, its fingerprint says so."""
    return sparse_copy(pristine, tmp_path_factory.mktemp("source") / "server.img")


@pytest.fixture(scope="session")
def source_fingerprint(source: Path) -> str:
    return fingerprint(source)


@pytest.fixture
def lab(image: LiveImage, tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    share = tmp_path / "share"
    share.mkdir()
    return Lab(image=image, folder=tmp_path, share=share, saved="saved_guest" in request.keywords)


@pytest.fixture(scope="session")
def content_of(image: LiveImage, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Inventory]:
    """Returns what is on the pristine disks of a recipe."""

    def take(name: str) -> Inventory:
        drives = drives_of(name, make_disks(image, name))

        def make(folder: Path) -> None:
            (folder / "inventory.json").write_text(json.dumps(asdict(inventory.take(image, *drives))))

        folder = shared(tmp_path_factory, f"inventory-{name}", make)
        return Inventory(**json.loads((folder / "inventory.json").read_text()))

    return take


@pytest.fixture(scope="session")
def before(content_of: Callable[[str], Inventory]) -> Inventory:
    """What is on the sample server."""
    return content_of(SERVER)


@pytest.fixture(scope="session")
def packed(image: LiveImage, source: Path, source_fingerprint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image set of the sample server, made in overlay mode, by UEFI, from a disk that must not change."""

    def make(folder: Path) -> None:
        (folder / "share").mkdir()
        lab = Lab(image=image, folder=folder, share=folder / "share")
        report = lab.run(
            [Drive(path=source)], "lvpack.action=backup", "lvpack.target=.", firmware="uefi", boot="iso", cpus=2
        )
        assert report.status == "ok", report
        assert fingerprint(source) == source_fingerprint
        [image_set] = lab.share.iterdir()
        assert image_set.name == report.name
        assert image_set.name.startswith("sampleserver-")
        assert "firmware: UEFI, Secure Boot disabled" in (image_set / "agent.log").read_text()

    [image_set] = (shared(tmp_path_factory, "packed", make) / "share").iterdir()
    return image_set
