"""The journal of an in-place run of the sample server, as its first boot writes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.backup import claim, journal, journal_read, journal_record
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.inplace.procedure import form, make_procedure
from lvpack_agent.plan.make import make_plan
from tests.agent.builders.layouts import MARGIN, blog_layout

# The UUID of the VG, and the name of the disk.
PLACE = ("U-1", "WD 1")


def blog_record(blog: Path) -> Record:
    """Return what is decided for the sample server, whose LV var has a journal to replay."""
    planned = make_plan(blog_layout(blog), MARGIN)
    return Record(
        schema=journal_record.SCHEMA,
        lvpack="0.0.1",
        created="now",
        name="one",
        vg="vg1",
        vg_uuid=PLACE[0],
        disk=PLACE[1],
        plan=planned,
        unclean=("LV var",),
        steps=form(make_procedure(planned, ("LV var",)).steps),
        run="0123456789abcdef",
    )


@contextmanager
def begun_journal(blog: Path, folder: Path) -> Iterator[Journal]:
    """Begin a journal in folder/share, and hold it; its layout/ is a copy of folder/layout, which is made."""
    layout, share = folder / "layout", folder / "share"
    layout.mkdir()
    (layout / "plan.txt").write_text("a plan\n")
    share.mkdir()
    place = journal_read.folder(share, *PLACE)
    with claim.held(place, print) as held:
        yield journal.begin(place, held, blog_record(blog), layout)
