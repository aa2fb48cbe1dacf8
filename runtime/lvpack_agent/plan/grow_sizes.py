"""How many extents each LV of a VG gets when a restore grows it: lvpack.grow as arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass

from lvpack_agent.errors import Refused
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.plan.grow_extents import stripes_of
from lvpack_agent.plan.grow_rules import rule_of
from lvpack_agent.settings.values import FILL, MAX, NONE, PACKED, PLUS, RAM, SHARE, SIZE, SOURCE, GrowRule
from lvpack_agent.sizes import human, round_down, round_up

# What is on an LV and can be made larger.
GROWING = ("ext2", "ext3", "ext4", "xfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The extents that an LV shall have, and why, for people."""

    extents: int
    why: str


def wanted(
    packed: VolumeGroup,
    source: VolumeGroup,
    total: int,
    policy: str,
    rules: Mapping[str, GrowRule],
    memory: int | None,
) -> dict[str, Wanted]:
    """Return what each LV of a packed VG shall have, by its UUID, if the VG has so many extents in total.

    rules are those for this VG by the UUIDs of LVs; memory is that of the machine in bytes, None if it is not known.
    An LV is never smaller than it was packed. Raises Refused, with the figures, for rules that there is no room for.
    """
    free = total - sum(lv.extents for lv in packed.lvs)
    if policy == NONE:
        return {lv.uuid: Wanted(extents=lv.extents, why="as packed: lvpack.grow=none") for lv in packed.lvs}
    before = {lv.uuid: lv.extents for lv in source.lvs}
    _refuse_over_100(packed, rules)
    found: dict[str, Wanted] = {}
    for lv in packed.lvs:
        rule = rules.get(lv.uuid)
        if rule and rule.how != MAX:
            found[lv.uuid] = _fixed(lv, rule, packed.extent_size, before[lv.uuid], free, memory)
    rest = free - sum(found[lv.uuid].extents - lv.extents for lv in packed.lvs if lv.uuid in found)
    if rest < 0:
        raise Refused(
            f"cannot grow VG '{packed.name}': the rules of lvpack.grow want "
            f"{human((free - rest) * packed.extent_size)} more than is packed, and there are "
            f"{human(free * packed.extent_size)}",
            hint="give smaller sizes, or a larger disk",
        )
    followers = [lv for lv in packed.lvs if lv.uuid not in rules]
    lost = {lv.uuid: _in_stripes(lv, max(0, before[lv.uuid] - lv.extents)) for lv in followers}
    enough = sum(lost.values()) <= rest
    shares = lost if enough else _shared(followers, lost, rest)
    for lv in followers:
        found[lv.uuid] = Wanted(extents=lv.extents + shares[lv.uuid], why=_why(lv, shares, lost, before, enough=enough))
    rest -= sum(shares.values())
    greedy = [lv for lv in packed.lvs if lv.uuid in rules and rules[lv.uuid].how == MAX]
    if policy == FILL:
        rest -= max(0, sum(pv.extents for pv in source.pvs) - sum(lv.extents for lv in source.lvs))
        # What was kept whole when it was packed, such as an ext with its journal elsewhere, does not grow.
        greedy = [lv for lv in followers if lv.content.type in GROWING and lv.content.minimum is not None]
    if greedy and rest > 0:
        more = _shared(greedy, {lv.uuid: before[lv.uuid] for lv in greedy}, rest)
        for lv in greedy:
            base = found[lv.uuid].extents if lv.uuid in found else lv.extents
            why = "its share of what is left: lvpack.grow=fill" if policy == FILL else "all that is left: max"
            found[lv.uuid] = Wanted(extents=base + more[lv.uuid], why=why)
    for lv in greedy:
        found.setdefault(lv.uuid, Wanted(extents=lv.extents, why="as packed: nothing is left for max"))
    return found


def _refuse_over_100(vg: VolumeGroup, rules: Mapping[str, GrowRule]) -> None:
    percent = sum(rule.percent for rule in rules.values() if rule.how == SHARE)
    if percent > 100:
        raise Refused(
            f"cannot grow VG '{vg.name}': the rules of lvpack.grow share out {percent:g}% of what is free in it",
            hint="all shares of one VG are 100% at most",
        )


def _fixed(lv: LogicalVolume, rule: GrowRule, extent: int, before: int, free: int, memory: int | None) -> Wanted:
    """Return what a rule says, whatever the others say. Raises Refused if it is less than what is packed."""
    if rule.how == RAM and memory is None:
        raise Refused(
            f"cannot use '{rule_of(rule)}': how much memory the machine has is not known here",
            hint="give --memory as well, or a size",
        )
    if rule.how == SIZE and rule.size < lv.extents * extent:
        raise Refused(
            f"cannot use '{rule_of(rule)}': LV '{lv.name}' is packed into {human(lv.extents * extent)}, and a restore "
            "makes nothing smaller",
            hint="give at least that, or shrink it when the server runs",
        )
    more = {
        SOURCE: before - lv.extents,
        PACKED: 0,
        PLUS: round_up(rule.size, extent) // extent,
        SHARE: int(free * rule.percent // 100),
        SIZE: round_up(rule.size, extent) // extent - lv.extents,
        RAM: round_up(memory or 0, extent) // extent - lv.extents,
    }[rule.how]
    more = max(0, more)
    step = stripes_of(lv)
    more = round_up(more, step) if rule.how in (SIZE, PLUS, RAM) else round_down(more, step)
    return Wanted(extents=lv.extents + more, why=f"by the rule {rule.text}")


def _in_stripes(lv: LogicalVolume, more: int) -> int:
    return round_down(more, stripes_of(lv))


def _shared(lvs: list[LogicalVolume], weights: Mapping[str, int], room: int) -> dict[str, int]:
    """Return by how many extents LVs grow that share room in proportion to weights, each in its whole stripes.

    What rounding leaves goes to the first ones that take it.
    """
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(weights, 0)
    shares = {lv.uuid: _in_stripes(lv, room * weights[lv.uuid] // total) for lv in lvs}
    left = room - sum(shares.values())
    for lv in sorted(lvs, key=lambda lv: -weights[lv.uuid]):
        step = stripes_of(lv)
        if weights[lv.uuid] and step <= left:
            shares[lv.uuid] += step
            left -= step
    return shares


def _why(
    lv: LogicalVolume, shares: Mapping[str, int], lost: Mapping[str, int], before: Mapping[str, int], *, enough: bool
) -> str:
    if before[lv.uuid] <= lv.extents:
        return "as it was on the source"
    if not lost[lv.uuid]:
        return "as packed: what it lost is no whole stripe"
    if not enough:
        return f"{100 * shares[lv.uuid] / lost[lv.uuid]:.0f}% of what it lost: the disk is smaller than the source"
    if lv.extents + shares[lv.uuid] < before[lv.uuid]:
        return "nearly its size on the source, in whole stripes"
    return "its size on the source"
