"""The six rows of the rig of faults that differ most; `make faults` plays them all."""

from pathlib import Path

import pytest

from faults.bench import samples
from faults.row import play
from faults.rows import CORE, ROWS
from lvpack_builder.image.build import LiveImage

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("name", CORE)
def test_fault(image: LiveImage, tmp_path: Path, name: str) -> None:
    [row] = [row for row in ROWS if row.name == name]
    assert play(row, image, samples(image), tmp_path / "row") == []
