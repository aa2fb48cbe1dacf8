"""The core end-to-end tests: docs/building.md says what each is for, and each seeded defect has one that exists."""

import re
import sys
from pathlib import Path

import pytest

from lvpack_agent.processes import run
from tools.defects import DEFECTS, copied, seed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """File and name of every core test, as pytest collects them."""
    env = {"LVPACK_CACHE": str(tmp_path_factory.mktemp("cache")), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "qemu-tests", "-m", "not full", "--collect-only", "-q"]
    said = run([*command, "-p", "no:cacheprovider", "-p", "no:randomly"], cwd=ROOT, env=env).stdout
    found = re.findall(r"^qemu-tests/tests/(\w+\.py)::(\w+)", said, re.MULTILINE)
    assert len(found) > 30, said
    return set(found)


@pytest.mark.starts_processes
def test_the_table_of_capabilities_names_every_core_test_and_no_other(core: set[tuple[str, str]]) -> None:
    page = (ROOT / "docs/building.md").read_text()
    _, _, section = page.partition("### What the core covers")
    section, _, _ = section.partition("\n### ")
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ") and "`test_" in line]
    named = [name for _, tests in rows for name in re.findall(r"`(test_\w+)`", tests)]
    assert sorted(named) == sorted({name for _, name in core})


@pytest.mark.starts_processes
def test_every_defect_can_be_seeded_and_has_a_test_in_the_core(core: set[tuple[str, str]], tmp_path: Path) -> None:
    root = copied(tmp_path)
    for defect in DEFECTS:
        file, _, name = defect.test.partition("::")
        assert name in {n for f, n in core if f == file} or (not name and file in {f for f, _ in core}), defect
        path = seed(root, defect)
        compile(path.read_text(), str(path), "exec")
        path.write_bytes((ROOT / path.relative_to(root)).read_bytes())
    assert len(DEFECTS) >= 10
