"""What all end-to-end tests share: the built image, the pristine sample server, disks made from it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lvpack_agent.report import Report
from lvpack_builder import runs
from lvpack_builder.build import LiveImage, build
from lvpack_builder.demo import sparse_copy
from lvpack_builder.paths import output_dir
from lvpack_builder.qemu import Drive
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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A folder for one test, its share, and runs of the live image with both."""

    image: LiveImage
    folder: Path
    share: Path

    def run(self, drives: list[Drive], *arguments: str, **options: object) -> Report:
        options.setdefault("share", self.share)
        return runs.run_image(
            self.image,
            drives,
            arguments,
            transcript=self.folder / "console.log",
            deadline=1500,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture
def lab(image: LiveImage, tmp_path: Path) -> Lab:
    share = tmp_path / "share"
    share.mkdir()
    return Lab(image=image, folder=tmp_path, share=share)


@pytest.fixture
def untouched(source: Path, source_sha256: str) -> Callable[[], None]:
    """Call it after a run: the source must be the same to the byte."""

    def check() -> None:
        assert sha256(source) == source_sha256

    return check
