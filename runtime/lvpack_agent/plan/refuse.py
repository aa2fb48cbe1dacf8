"""Disks that no plan can be made for."""

from lvpack_agent.errors import Refused
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.layout.layout import Layout


def refuse_other_disks(source: Layout, kept: int) -> None:
    """Raise Refused for a disk that cannot be packed, or one after the kept ones that cannot be collapsed into them."""
    for disk in source.disks:
        if disk.table and disk.table.label not in ("dos", "gpt"):
            raise Refused(
                f"cannot pack disk '{disk.path}': its partition table is '{disk.table.label}'",
                hint="lvpack knows msdos and GPT",
            )
        for row in disk.rows:
            # util-linux writes a name in UTF-16, without surrogate pairs (seen with 2.38.1: it reads back as another).
            if any(char > "\uffff" or "\ud800" <= char <= "\udfff" for char in row.name):
                raise Refused(
                    f"cannot pack disk '{disk.path}': the name of partition {row.number} has characters beyond "
                    "Unicode's first 65,536, which sfdisk does not write",
                    hint=f"give it another name first: sfdisk --part-label {disk.path} {row.number} NAME",
                )
        if disk.sector_size != source.disks[0].sector_size:
            raise Refused(
                f"cannot pack '{disk.path}' with '{source.disks[0].path}': they have sectors of "
                f"{disk.sector_size} and {source.disks[0].sector_size} bytes",
                hint="bring a VG that is on both to disks of one kind first (pvmove, vgreduce); leave out a disk that "
                "shares no VG with the first (lvpack.disk=)",
            )
    into = "' or '".join(disk.path for disk in source.disks[:kept])
    for index, disk in enumerate(source.disks[kept:], kept):
        if others := [p for p in disk.rows if p.content.type != PV_TYPE and p is not disk.extended]:
            raise Refused(
                f"cannot collapse disk '{disk.path}' into '{into}': it has "
                f"{source.partition_name(index, others[0].number)} beside its PV",
                hint="lvpack.collapse=no packs each disk by itself; or bring the VG to one of them (pvmove, vgreduce)",
            )
    for vg in source.vgs:
        if all(pv.disk >= kept for pv in vg.pvs):
            raise Refused(
                f"cannot collapse VG '{vg.name}' into disk '{into}': it has no PV there",
                hint="pack its disk in a run of its own (lvpack.disk=)",
            )
