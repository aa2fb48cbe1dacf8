"""The LVM metadata text of the packed VG: the source's own text with new segments, pe_count and dev_size."""

from dataclasses import replace

from lvpack_agent.devices.dmsetup import SECTOR
from lvpack_agent.errors import Failed
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.lvm.vgtext import Section, parse, render


def rewrite(text: str, vg: VolumeGroup) -> str:
    """Return the metadata text, changed so that it describes vg, which may lack PVs; UUIDs and all else stay.

    Raises Failed if the text is damaged or describes other PVs or LVs.
    """
    root = parse(text)
    section = root.section(vg.name)
    pvs = section.section("physical_volumes")
    names = _pv_names(section)
    if not set(names) >= {pv.uuid for pv in vg.pvs}:
        raise _other_than_planned(vg)
    for pv in vg.pvs:
        pvs = pvs.with_section(_pv(pvs.section(names[pv.uuid]), pv))
    for gone in set(names) - {pv.uuid for pv in vg.pvs}:
        pvs = pvs.without(names[gone])
    return render(root.with_section(_with_lvs(section.with_section(pvs), vg, names, section)))


def with_segments(text: str, vg: VolumeGroup, former: str) -> str:
    """Return the metadata text with the segments of vg's LVs; all else stays, PVs included.

    former is an older text of the VG. For each segment in vg it must have one of the same LV with as many stripes: that
    is the pattern for what a segment says beside its place.
    """
    root = parse(text)
    section = root.section(vg.name)
    patterns = parse(former).section(vg.name)
    return render(root.with_section(_with_lvs(section, vg, _pv_names(section), patterns)))


def _pv_names(vg: Section) -> dict[str, str]:
    """Return the names that PVs have in the text, by their UUIDs."""
    return {str(s.get("id")): s.name for s in vg.section("physical_volumes").sections()}


def _other_than_planned(vg: VolumeGroup) -> Failed:
    return Failed(f"cannot rewrite the metadata of VG '{vg.name}': it names other PVs or LVs than the plan")


def _with_lvs(section: Section, vg: VolumeGroup, names: dict[str, str], patterns: Section) -> Section:
    """Return the section of a VG with the segments of vg's LVs, each like one of the same LV in patterns."""
    if not vg.lvs:
        return section
    lvs = section.section("logical_volumes")
    sections, like = ({str(s.get("id")): s for s in part.sections()} for part in (lvs, patterns.section(lvs.name)))
    if set(sections) != {lv.uuid for lv in vg.lvs} or set(like) != set(sections):
        raise _other_than_planned(vg)
    for lv in vg.lvs:
        lvs = lvs.with_section(_lv(sections[lv.uuid], lv, names, like[lv.uuid]))
    return section.with_section(lvs)


def _pv(section: Section, pv: PhysicalVolume) -> Section:
    return section.with_value("dev_size", pv.size // SECTOR).with_value("pe_count", pv.extents)


def _lv(section: Section, lv: LogicalVolume, pv_names: dict[str, str], pattern: Section) -> Section:
    # What is said of a segment beside its place depends on how many areas it has.
    like = {segment.get("stripe_count"): segment for segment in pattern.sections()}
    segments = tuple(
        replace(
            _sized(like[len(s.areas)], s)
            .with_value("start_extent", s.le)
            .with_value("extent_count", s.count)
            .with_value("stripes", tuple(word for area in s.areas for word in (pv_names[area.pv], area.pe))),
            name=f"segment{number}",
        )
        for number, s in enumerate(lv.segments, 1)
    )
    kept = tuple(node for node in section.nodes if not isinstance(node, Section))
    return replace(section, nodes=kept + segments).with_value("segment_count", len(segments))


def _sized(pattern: Section, segment: Segment) -> Section:
    """Return the section of a segment with the size of its stripes, which a linear one has not."""
    return pattern.with_value("stripe_size", segment.stripe_size // SECTOR) if segment.others else pattern
