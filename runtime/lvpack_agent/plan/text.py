"""A plan for people."""

from collections.abc import Iterator, Mapping, Sequence

from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.plan.grow import Growth
from lvpack_agent.plan.values import Plan, Row
from lvpack_agent.printable import printable
from lvpack_agent.sizes import human


def as_text(plan: Plan, costs: str = "") -> str:
    """Return the plan as a table for people, closed by a line about its costs."""
    what = " and ".join(f"{d.path} ({d.model or 'no model'}, {human(d.size)})" for d in plan.source.disks)
    names = " and ".join(vg.name for vg in plan.source.vgs)
    lines = [f"Plan: pack disk {what} with VG {names} into {human(plan.packed_size)}"]
    lines += _table(plan.rows, "now", "packed")
    for old_vg, new_vg in zip(plan.source.vgs, plan.target.vgs, strict=True):
        where = "of the PV" if len(old_vg.pvs) == 1 else "of the PVs"
        lines.append(f"  Extents {where}, {human(old_vg.extent_size)} each, as they are and as they will be:")
        width = max((len(lv.name) for lv in old_vg.lvs), default=0)
        labels = {pv.uuid: f"{number}:" for number, pv in enumerate(old_vg.pvs)} if len(old_vg.pvs) > 1 else {}
        for old, new in zip(old_vg.lvs, new_vg.lvs, strict=True):
            lines.append(f"    LV {old.name:<{width}}  {_extents(old, labels)} -> {_extents(new, labels)}")
    return "\n".join(map(printable, [*lines, f"  {costs or overlay_costs(plan)}"]))


def restore_text(growth: Growth, name: str) -> str:
    """Return the plan of a restore of the image set of that name as a table for people."""
    what = " and ".join(f"{d.path} ({d.model or 'no model'}, {human(d.size)})" for d in growth.target.disks)
    packed = sum(disk.size for disk in growth.packed.disks)
    lines = [f"Plan: restore image set {name} ({human(packed)} packed) to {what}"]
    return "\n".join(map(printable, [*lines, *_table(growth.rows, "packed", "on this disk")]))


def _table(plan_rows: Sequence[Row], before: str, after: str) -> Iterator[str]:
    """Yield the lines of a table of rows; before and after head the columns of sizes."""
    rows = [("", "what", "holds", before, after, "why")]
    rows += [(s.verb, s.object, s.type, human(s.before), human(s.after), s.reason) for s in plan_rows]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for verb, name, holds, old, new, why in rows:
        yield (
            f"  {verb:<{widths[0]}}  {name:<{widths[1]}}  {holds:<{widths[2]}}"
            f"  {old:>{widths[3]}}  {new:>{widths[4]}}  {why}".rstrip()
        )


def _extents(lv: LogicalVolume, labels: Mapping[str, str]) -> str:
    return " ".join(
        "|".join(f"{labels.get(area.pv, '')}{area.pe}-{area.pe + s.length - 1}" for area in s.areas)
        for s in lv.segments
    )


def overlay_costs(plan: Plan, room: int | None = None, place: str = "") -> str:
    """Return what overlay mode needs, for people; place is where the store is, room its largest size there in bytes."""
    there = f"; {place} has room for {human(room)}" if room is not None else ""
    return f"The copy-on-write store needs about {human(plan.store)}{there}."


def cost_of_fitting(plan: Plan, wished: Plan) -> str:
    """Return, for people, how much larger a plan that fits its store is than the plan that the margin asks for."""
    return (
        f"the disk is packed into {human(plan.packed_size)}, since there is no more room for the store; a store of "
        f"{human(wished.store - plan.store)} more would make it {human(wished.packed_size)}"
    )


def inplace_costs(plan: Plan) -> str:
    """Return what in-place mode writes to the disk, for people."""
    return (
        f"In place: the shrink moves about {human(plan.store)}, through a store on the share or a scratch device; "
        f"compaction moves {human(plan.moving)}."
    )
