"""The defects that are seeded on purpose: each has its place in the agent, and a test of the core that must fail."""

import re

import pytest

from tools import defects
from tools.defects import DEFECTS, ROOT, Defect


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_has_one_place_in_the_agent_and_a_test(defect: Defect) -> None:
    sources = [path.read_text() for path in sorted((ROOT / defects.SOURCES).rglob("*.py"))]
    assert sum(text.count(defect.old) for text in sources) == 1
    assert defect.new != defect.old
    file, _, name = defect.test.partition("::")
    text = (ROOT / "qemu-tests/tests" / file).read_text()
    assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE)
