"""README.md shows what the code prints."""

from pathlib import Path

from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.text import as_text, overlay_costs
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import MIB
from tests.builder.builders import recorded

README = Path(__file__).parents[2] / "README.md"
# What memory had for the store when the recording was made, in a machine of 1 GiB.
ROOM = 667 * MIB


def test_the_plan_in_the_readme_is_the_one_that_is_made_of_the_sample_server(blog: Path) -> None:
    plan = make_plan(recorded(blog), Margin(percent=5))
    printed = as_text(plan, overlay_costs(plan, ROOM, "memory"))
    assert f"```\n{printed}\n```\n" in README.read_text(), f"put this into README.md:\n{printed}"
