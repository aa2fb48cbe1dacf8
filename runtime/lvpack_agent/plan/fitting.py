"""A plan that shrinks less, so that its copy-on-write store fits the room there is; arithmetic alone, like the plan.

The larger an ext filesystem stays, the less its shrink writes to the store. That goes in steps: where files lie, one
extent more may save hundreds of MiB. So the sizes of all LVs are chosen together, for the smallest disk whose store
fits.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.sizes import resized, rewritten
from lvpack_agent.plan.values import Plan
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import round_up

# Sizes that are looked at for each LV, and combinations that are kept from one LV to the next.
SIZES, COMBINATIONS = 128, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """sizes of some LVs in extents, the bytes that they take together, and the bytes that they put into the store."""

    size: int
    store: int
    sizes: tuple[int, ...]


def fitted(source: Layout, margin: Margin, room: int, *, kept: int = 1) -> Plan:
    """Return the plan for a layout whose store takes at most room bytes; if none does, the one with the smallest store.

    The plan of make_plan() is returned if it fits; else filesystems keep more free space than the margin asks for.
    Raises Refused like make_plan().
    """
    plan = make_plan(source, margin, kept=kept)
    if plan.store <= room:
        return plan
    extent = {lv.uuid: vg.extent_size for vg in source.vgs for lv in vg.lvs}
    pairs = [(a, b) for a, b in plan.lvs() if a.content.minimum is not None]
    fixed = plan.store - sum(rewritten(a.content, b.content) for a, b in pairs)
    best = [Choice(size=0, store=fixed, sizes=())]
    for before, after in pairs:
        choices = _choices(before, after.extents, extent[before.uuid])
        best = _kept((_both(b, c) for b in best for c in choices), room)
    sizes = next((b.sizes for b in best if b.store <= room), best[-1].sizes)
    least = {a.uuid: n for (a, _), n in zip(pairs, sizes, strict=True)}
    return make_plan(source, margin, least, kept=kept)


def _choices(lv: LogicalVolume, least: int, extent: int) -> list[Choice]:
    """Return sizes of an LV, from least extents to all that it has; each larger one puts less into the store."""
    step = max(1, round_up(lv.extents - least, SIZES) // SIZES)
    found: list[Choice] = []
    for count in [*range(least, lv.extents, step), lv.extents]:
        store = rewritten(lv.content, resized(lv.content, count * extent))
        if not found or store < found[-1].store:
            found.append(Choice(size=count * extent, store=store, sizes=(count,)))
    return found


def _both(a: Choice, b: Choice) -> Choice:
    return Choice(size=a.size + b.size, store=a.store + b.store, sizes=a.sizes + b.sizes)


def _kept(choices: Iterable[Choice], room: int) -> list[Choice]:
    """Return the choices that no other beats in size and store, sorted by size; nearly equal ones are left out."""
    best: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.size, c.store)):
        if not best or choice.store < best[-1].store:
            best.append(choice)
    quantum = max(1, room // COMBINATIONS)
    # Of those that need nearly the same, the smallest; of those that do not fit, one.
    buckets = {min(c.store, room + quantum) // quantum: c for c in reversed(best)}
    return sorted({*buckets.values(), best[-1]}, key=lambda c: c.size)
