"""What all end-to-end tests share: the built image, the pristine sample server, disks made from it."""

from pathlib import Path

import pytest

from lab import Lab, fingerprint, sha256
from lvpack_builder.build import LiveImage, build
from lvpack_builder.demo import sparse_copy
from lvpack_builder.paths import output_dir
from lvpack_builder.sample.server import make_sample


@pytest.fixture(scope="session")
def image() -> LiveImage:
    return build(output_dir())


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
def lab(image: LiveImage, tmp_path: Path) -> Lab:
    share = tmp_path / "share"
    share.mkdir()
    return Lab(image=image, folder=tmp_path, share=share)


@pytest.fixture(scope="session")
def source_fingerprint(source: Path) -> str:
    return fingerprint(source)
