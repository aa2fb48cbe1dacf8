"""Which of the things that LVM can make lvpack packs; all others are refused by name, with the way out."""

from lvpack_agent.errors import Refused
from lvpack_agent.lvm import vgreport

# lvs(8), lv_layout and segtype.
LV_TYPES = ("linear", "striped")
# lvremove(8), lvconvert(8): how an LV becomes one of those, by its type.
_WAYS_OUT = {
    "snapshot": "remove the snapshot (lvremove), or merge it (lvconvert --merge)",
    "origin of a snapshot": "remove its snapshots (lvremove)",
    "cache": "take the cache off (lvconvert --splitcache)",
    "writecache": "take the cache off (lvconvert --splitcache)",
    "integrity": "take the checksums off (lvconvert --raidintegrity n)",
    "mirror": "make it linear (lvconvert --mirrors 0)",
    "raid1": "make it linear (lvconvert --mirrors 0)",
    "pvmove": "let pvmove finish it, or stop it (pvmove --abort)",
    "error": "one named pvmove0 is what a pvmove that was cut off at its very end has left: lvremove it",
}


def refuse_unsupported(vg: vgreport.Vg) -> None:
    """Raise Refused, naming the next step, for a VG that lvpack does not pack."""
    name = f"cannot pack VG '{vg.name}'"
    if not vg.name:
        raise Refused(
            "cannot pack this disk: it holds a PV without a VG", hint="remove it with pvremove, or add it to a VG"
        )
    if vg.partial or any(pv.missing for pv in vg.pvs):
        raise Refused(f"{name}: a PV of it is missing", hint="attach its disk, or run vgreduce --removemissing")
    if vg.exported:
        raise Refused(f"{name}: it is exported", hint="run vgimport first")
    if vg.clustered:
        raise Refused(
            f"{name}: it is a cluster's",
            hint="make it local with vgchange --lock-type none (and --lockopt force if the cluster is gone)",
        )
    if not vg.writable:
        raise Refused(f"{name}: it is read-only", hint="make its metadata writable first (vgs -o vg_attr)")
    if not vg.lvs:
        raise Refused(f"{name}: it has no LV", hint="there is nothing in it to pack")
    if vg.system_id:
        raise Refused(
            f"{name}: it belongs to system '{vg.system_id}'", hint="clear it there with vgchange --systemid ''"
        )
    # People know the LVs that LVM shows them; the parts of one come after it.
    for lv in sorted(vg.lvs, key=lambda lv: "private" in lv.role.split(",")):
        if not lv.writable:
            raise Refused(
                f"{name}: LV '{lv.name}' is read-only", hint="make it writable first (lvchange --permission rw)"
            )
        if kinds := _unsupported(lv, vg):
            ways = [way for kind, way in _WAYS_OUT.items() if kind in kinds]
            raise Refused(
                f"{name}: LV '{lv.name}' is of type {', '.join(kinds)}",
                hint="; ".join(["this version packs linear and striped LVs only", *ways]),
            )


def _unsupported(lv: vgreport.Lv, vg: vgreport.Vg) -> list[str]:
    """Return of which types an LV is, by what LVM says of it and of its parts, beside those that lvpack packs."""
    roles = lv.role.split(",")
    # Of an old snapshot and its origin the segments and the layout say "linear".
    kinds = {"snapshot"}.intersection(roles) | ({"origin of a snapshot"} if "thickorigin" in roles else set())
    kinds |= {*lv.layout.split(","), *(s.type for s in lv.segments)}
    kinds |= {"integrity" for part in vg.lvs if part.layout == "integrity" and part.name.startswith(f"{lv.name}_")}
    return sorted(kinds.difference(LV_TYPES))
