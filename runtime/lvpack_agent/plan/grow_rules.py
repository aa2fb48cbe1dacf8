"""Which LV each rule of lvpack.grow names."""

from collections.abc import Iterator, Mapping

from lvpack_agent.errors import Refused
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.settings.values import RAM, Grow, GrowRule

# A rule that fails is one of lvpack.grow; so many names are given of those that there are.
NAMED = 8


def rule_of(rule: GrowRule) -> str:
    """Return a rule as messages quote it."""
    return f"lvpack.grow={rule.text}"


def by_lv(grow: Grow, packed: Layout, mounts: Mapping[str, str]) -> dict[str, GrowRule]:
    """Return the rules by the UUIDs of the LVs that they name. Raises Refused for a name that is not one LV's.

    mounts has the mount points of LVs, and the UUIDs of these.
    """
    found: dict[str, GrowRule] = {}
    for rule in grow.rules:
        lv = _named(rule, packed, mounts)
        if lv.uuid in found:
            raise Refused(
                f"cannot use '{rule_of(rule)}': LV '{lv.name}' is also what '{found[lv.uuid].text}' names",
                hint="give one rule for each LV",
            )
        if rule.how == RAM and lv.content.type != "swap":
            raise Refused(
                f"cannot use '{rule_of(rule)}': LV '{lv.name}' is no swap area", hint="ram is a size for swap only"
            )
        found[lv.uuid] = rule
    return found


def _named(rule: GrowRule, packed: Layout, mounts: Mapping[str, str]) -> LogicalVolume:
    several = len(packed.vgs) > 1
    lvs = [(vg, lv) for vg in packed.vgs for lv in vg.lvs]
    matches = [(vg, lv) for vg, lv in lvs if rule.name in _names(vg, lv) or mounts.get(rule.name) == lv.uuid]
    if len(matches) == 1:
        return matches[0][1]
    if matches:
        raise Refused(
            f"cannot use '{rule_of(rule)}': '{rule.name}' is the name or the label of several LVs",
            hint=f"give one of {', '.join(f'{vg.name}/{lv.name}' for vg, lv in matches)}",
        )
    labels = (row.content.label for disk in packed.disks for row in disk.rows)
    if rule.name.startswith("/"):
        known = f"it knows {', '.join(sorted(mounts)[:NAMED])}" if mounts else "it knows no mount points"
        cause = f"no LV of the image set is mounted at '{rule.name}': {known}"
    elif rule.name in labels:
        cause = f"'{rule.name}' is on a partition, and only what is on LVs grows"
    else:
        cause = f"there is no LV '{rule.name}' in the image set"
    names = [f"{vg.name}/{lv.name}" if several else lv.name for vg, lv in lvs]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise Refused(f"cannot use '{rule_of(rule)}': {cause}", hint=f"the LVs are {', '.join(names[:NAMED])}{more}")


def _names(vg: VolumeGroup, lv: LogicalVolume) -> Iterator[str]:
    yield lv.name
    yield f"{vg.name}/{lv.name}"
    if lv.content.label:
        yield lv.content.label


def rules_in(vg: VolumeGroup, rules: Mapping[str, GrowRule]) -> dict[str, GrowRule]:
    """Return the rules for the LVs of a VG."""
    return {lv.uuid: rules[lv.uuid] for lv in vg.lvs if lv.uuid in rules}
