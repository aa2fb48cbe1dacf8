"""A few damaged inputs of each parser (tests/fuzz; `make fuzz` runs many): only lvpack's own errors come out."""

from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.run import fuzz

CASES = 120


@pytest.mark.starts_processes
@pytest.mark.no_cover
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_damaged_input(parser: Parser) -> None:
    assert list(fuzz(parser, seed=19, numbers=range(CASES))) == []


@pytest.mark.starts_processes
@pytest.mark.no_cover
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_good_samples_are_read(parser: Parser, tmp_path: Path) -> None:
    for number, sample in enumerate(parser.samples()):
        folder = tmp_path / str(number)
        folder.mkdir()
        parser.parse(sample, folder)
