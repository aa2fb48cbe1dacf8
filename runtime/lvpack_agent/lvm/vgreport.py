"""What LVM reports of VGs, PVs and LVs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lvpack_agent.errors import understood
from lvpack_agent.jsonform import checked
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm import pvlabel
from lvpack_agent.lvm.commands import command

_FIELDS = {
    "vg": "vg_name,vg_uuid,vg_extent_size,vg_extent_count,vg_free_count,vg_systemid,vg_clustered,vg_shared,"
    "vg_exported,vg_partial,vg_missing_pv_count,vg_attr,vg_tags",
    "pv": "pv_name,pv_uuid,pv_attr,dev_size,pe_start,pv_pe_count,pv_mda_count,pv_mda_size,pv_ba_size,pv_duplicate,"
    "pv_missing",
    "lv": "lv_name,lv_uuid,lv_layout,lv_role,lv_attr,lv_dm_path",
    "pvseg": "pv_uuid,pvseg_start,pvseg_size",
    "seg": "lv_uuid,segtype,seg_start_pe,seg_size_pe,seg_pe_ranges,stripe_size",
}

_SKIPPED = "WARNING: Skipping clustered VG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as LVM reports it; ranges are `DEVICE:FIRST-LAST` in extents, several for a striped one.

    stripe_size in bytes, 0 for a linear one.
    """

    type: str
    start: int
    count: int
    ranges: tuple[str, ...]
    stripe_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lv:
    """An LV as LVM reports it; layout and role are lv_layout and lv_role of lvs(8), device is its path when active."""

    name: str
    uuid: str
    layout: str
    role: str
    writable: bool
    device: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pv:
    """A PV; device is "[unknown]" if it is missing; sizes in bytes, area_size that of the smallest metadata area.

    metadata_areas counts those that the label lists, intact or not; second_area is where the second one is. LVM itself
    reports only intact ones, and not where they are.
    """

    device: str
    uuid: str
    size: int
    pe_start: int
    extents: int
    metadata_areas: int
    area_size: int
    second_area: MetadataArea | None = None
    bootloader_area: int
    missing: bool
    duplicate: bool
    allocatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vg:
    """A VG as LVM reports it; name "" collects the PVs that belong to none. extent_size in bytes."""

    name: str
    uuid: str
    extent_size: int
    free: int
    system_id: str
    clustered: bool
    exported: bool
    partial: bool
    writable: bool
    tags: tuple[str, ...]
    pvs: tuple[Pv, ...]
    lvs: tuple[Lv, ...]


@understood("the report of LVM")
def parse(text: str) -> tuple[Vg, ...]:
    """Read `lvm fullreport --reportformat json --binary --units b --nosuffix` with the fields above.

    A VG of clvmd, which LVM skips and only mentions in its log, has no PV and no LV. Raises Failed if it is not as LVM
    reports.
    """
    answer = json.loads(text)
    skipped = (row for row in answer.get("log", ()) if row["log_message"].startswith(_SKIPPED))
    return tuple(checked(_vg(report)) for report in answer["report"]) + tuple(
        _vg({"vg": [{"vg_name": row["log_object_name"], "vg_uuid": row["log_object_id"], "vg_clustered": "1"}]})
        for row in skipped
    )


def _vg(report: dict[str, list[dict[str, str]]]) -> Vg:
    vg = report["vg"][0] if report.get("vg") else {}
    segments: dict[str, list[Segment]] = {}
    for row in report.get("seg", ()):
        segments.setdefault(row["lv_uuid"], []).append(
            Segment(
                type=row["segtype"],
                start=int(row["seg_start_pe"] or 0),
                count=int(row["seg_size_pe"] or 0),
                ranges=tuple(row["seg_pe_ranges"].split()),
                stripe_size=int(row.get("stripe_size") or 0),
            )
        )
    return Vg(
        name=vg.get("vg_name", ""),
        uuid=vg.get("vg_uuid", ""),
        extent_size=int(vg.get("vg_extent_size") or 0),
        free=int(vg.get("vg_free_count") or 0),
        system_id=vg.get("vg_systemid", ""),
        clustered=_flag(vg, "vg_clustered") or _flag(vg, "vg_shared"),
        exported=_flag(vg, "vg_exported"),
        partial=_flag(vg, "vg_partial") or int(vg.get("vg_missing_pv_count") or 0) > 0,
        # vgs(8): the first attribute bit is w or r; pvs(8): that of a PV is a if new extents may be put there.
        writable=not vg.get("vg_attr", "").startswith("r"),
        tags=tuple(filter(None, vg.get("vg_tags", "").split(","))),
        pvs=tuple(_pv(row) for row in report.get("pv", ())),
        lvs=tuple(
            Lv(
                name=row["lv_name"].strip("[]"),
                uuid=row["lv_uuid"],
                layout=row["lv_layout"],
                role=row["lv_role"],
                # lvs(8): the second attribute bit is r for an LV that is read-only, active or not.
                writable=row.get("lv_attr", "-w")[1] != "r",
                device=row["lv_dm_path"],
                segments=tuple(sorted(segments.get(row["lv_uuid"], ()), key=lambda s: s.start)),
            )
            for row in report.get("lv", ())
        ),
    )


def _pv(row: dict[str, Any]) -> Pv:
    return Pv(
        device=row["pv_name"],
        uuid=row["pv_uuid"],
        size=int(row["dev_size"] or 0),
        pe_start=int(row["pe_start"] or 0),
        extents=int(row["pv_pe_count"] or 0),
        metadata_areas=int(row["pv_mda_count"] or 0),
        area_size=int(row.get("pv_mda_size") or 0),
        bootloader_area=int(row["pv_ba_size"] or 0),
        missing=_flag(row, "pv_missing"),
        duplicate=_flag(row, "pv_duplicate"),
        allocatable=row.get("pv_attr", "a").startswith("a"),
    )


def _flag(row: dict[str, str], key: str) -> bool:
    return row.get(key, "") not in ("", "0")


def read(devices: Sequence[str]) -> tuple[Vg, ...]:
    """Return the VGs on these devices; those of other systems are reported too."""
    if not devices:
        return ()
    words = ["fullreport", "--all", "--foreign", "--shared", "--binary", "--reportformat", "json"]
    words += ["--units", "b", "--nosuffix"]
    for kind, names in _FIELDS.items():
        words += ["--configreport", kind, "-o", names]
    found = parse(command(words, devices).stdout)
    return tuple(replace(vg, pvs=tuple(_with_areas(pv) for pv in vg.pvs)) for vg in found)


def _with_areas(pv: Pv) -> Pv:
    if pv.missing:
        return pv
    areas = pvlabel.areas(pv.device)
    return replace(pv, metadata_areas=len(areas), second_area=areas[1] if len(areas) > 1 else None)
