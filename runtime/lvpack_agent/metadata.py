"""The LVM metadata text of the packed VG: the source's own text with new segments, pe_count and dev_size."""

from dataclasses import replace

from lvpack_agent.errors import Failed
from lvpack_agent.layout import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.mappings import SECTOR
from lvpack_agent.vgtext import Section, parse, render


def rewrite(text: str, vg: VolumeGroup) -> str:
    """Return the metadata text changed so that it describes vg: the same UUIDs, but PVs may be gone; the rest stays.

    Raises Failed if the text is damaged or describes other PVs or LVs.
    """
    root = parse(text)
    section = root.section(vg.name)
    pvs = section.section("physical_volumes")
    names = {str(s.get("id")): s.name for s in pvs.sections()}
    lvs = section.section("logical_volumes") if vg.lvs else None
    if not set(names) >= {pv.uuid for pv in vg.pvs} or (
        lvs and {str(s.get("id")) for s in lvs.sections()} != {lv.uuid for lv in vg.lvs}
    ):
        raise Failed(f"cannot rewrite the metadata of VG '{vg.name}': it names other PVs or LVs than the plan")
    for pv in vg.pvs:
        pvs = pvs.with_section(_pv(pvs.section(names[pv.uuid]), pv))
    for gone in set(names) - {pv.uuid for pv in vg.pvs}:
        pvs = pvs.without(names[gone])
    section = section.with_section(pvs)
    if lvs:
        sections = {str(s.get("id")): s for s in lvs.sections()}
        for lv in vg.lvs:
            lvs = lvs.with_section(_lv(sections[lv.uuid], lv, names))
        section = section.with_section(lvs)
    return render(root.with_section(section))


def _pv(section: Section, pv: PhysicalVolume) -> Section:
    return section.with_value("dev_size", pv.size // SECTOR).with_value("pe_count", pv.extents)


def _lv(section: Section, lv: LogicalVolume, pv_names: dict[str, str]) -> Section:
    # What is said of a segment beside its place depends on how many areas it has.
    like = {section.get("stripe_count"): section for section in section.sections()}
    segments = tuple(
        replace(
            like[len(s.areas)]
            .with_value("start_extent", s.le)
            .with_value("extent_count", s.count)
            .with_value("stripes", tuple(word for area in s.areas for word in (pv_names[area.pv], area.pe))),
            name=f"segment{number}",
        )
        for number, s in enumerate(lv.segments, 1)
    )
    kept = tuple(node for node in section.nodes if not isinstance(node, Section))
    return replace(section, nodes=kept + segments).with_value("segment_count", len(segments))
