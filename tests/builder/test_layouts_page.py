import re
from pathlib import Path

from lvpack_builder.lab.sample import server

PAGE = Path(__file__).parents[2] / "docs/layouts.md"
TESTS = Path(__file__).parents[2] / "qemu-tests/tests"


def test_the_page_names_each_sample_and_a_test_packs_it() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[3])}
    samples = {path.stem for path in server.FOLDER.glob("*.toml")}
    assert named == samples
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    # The demo and the benchmark have this one; tests work with a smaller one of its kind.
    assert [name for name in samples - {"blog"} if f'"{name}"' not in tests] == []
