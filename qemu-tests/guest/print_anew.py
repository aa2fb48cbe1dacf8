"""Runs in the live image: print_anew.py VG PV prints every value of a VG's metadata anew and lets LVM restore that.

Then what stands on the PV must mean what it meant before, but for LVM's own count of changes and the last command.
"""

import sys
from pathlib import Path

from lvpack_agent.lvm.vgtext import Assignment, Section, parse, render
from lvpack_agent.processes import run

CHANGES = ("seqno", "description", "creation_time")


def set_anew(section: Section) -> Section:
    for node in section.nodes:
        if isinstance(node, Assignment):
            section = section.with_value(node.key, node.value)
        else:
            section = section.with_section(set_anew(node))
    return section


def meaning(section: Section) -> list[object]:
    return [
        (node.key, node.value) if isinstance(node, Assignment) else (node.name, meaning(node))
        for node in section.nodes
        if not isinstance(node, Assignment) or node.key not in CHANGES
    ]


def main(vg: str, pv: str) -> None:
    text, before, after = Path("/run/text"), Path("/run/before"), Path("/run/after")
    run(["lvm", "vgcfgbackup", "--file", text, vg])
    run(["lvm", "pvck", "--dump", "metadata", "--file", before, pv])
    old = text.read_text()
    new = render(set_anew(parse(old)))
    assert new != old, "nothing was printed anew"
    text.write_text(new)
    run(["lvm", "vgcfgrestore", "--file", text, vg])
    run(["lvm", "vgck", vg])
    run(["lvm", "pvck", "--dump", "metadata", "--file", after, pv])
    assert meaning(parse(after.read_text())) == meaning(parse(before.read_text()))
    print("the same")


main(*sys.argv[1:])
