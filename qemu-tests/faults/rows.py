"""The table of faults."""

from faults import kinds
from faults.row import BACKUP, GROW, IN_PLACE, RESTORE, VERIFY, Row

SHRINK, DUMP, READ_BACK, WRITE, CHECK = "== shrink", "== dump", "== read back", "== write", "== verify"
# What e2fsck finds is its exit status, and a stand-in that ends with 0 has found nothing.
FSCK = {"crashes": "failed", "talks nonsense": "ok"}


def _disks() -> list[Row]:
    rows = [
        Row(job=BACKUP, fault=fault, when=when, says=(says,))
        for fault in (kinds.disk_error("pread"), kinds.disk_gone())
        for when, says in (("== probe", "could not be read"), (DUMP, "Input/output error"))
    ]
    rows += [Row(job=job, fault=kinds.disk_slow(), status="ok") for job in (BACKUP, RESTORE)]
    rows += [Row(job=RESTORE, fault=kinds.disk_error("pwrite"), when=when) for when in ("== probe", WRITE)]
    rows += [Row(job=RESTORE, fault=kinds.disk_error("pwrite", "ENOSPC"), when=WRITE)]
    rows += [Row(job=RESTORE, fault=kinds.disk_error("pread"), when=when) for when in (WRITE, CHECK)]
    rows += [Row(job=RESTORE, fault=kinds.disk_gone(), when=when) for when in (WRITE, CHECK)]
    rows += [Row(job=RESTORE, fault=kinds.target_lies(), when=CHECK, says=("does not read back",))]
    for when in ("-- resize", "-- move", DUMP):
        rows.append(Row(job=IN_PLACE, fault=kinds.disk_error("pread"), when=when, again="ok"))
        # The disk is packed, and all of it flushed, when the dump begins.
        status = "ok" if when == DUMP else "failed"
        rows.append(Row(job=IN_PLACE, fault=kinds.disk_error("pwrite"), when=when, status=status, again="ok"))
    return rows


def _shares() -> list[Row]:
    rows = []
    for fault in (kinds.share_stalls(), kinds.share_drops(), kinds.share_restarts()):
        rows += [Row(job=BACKUP, fault=fault, when=when, status="ok") for when in (SHRINK, DUMP, READ_BACK)]
        rows += [Row(job=RESTORE, fault=fault, when=when, status="ok") for when in ("== probe", WRITE)]
    little = ("lvpack.patience=15s",)
    # What is left on a share that was gone keeps its name until somebody has looked, and removed it.
    rows += [
        Row(
            job=BACKUP, fault=kinds.share_gone(), when=when, words=little, says=("cannot reach share",), again="refused"
        )
        for when in (SHRINK, DUMP)
    ]
    rows.append(Row(job=RESTORE, fault=kinds.share_gone(), when=WRITE, words=little, says=("cannot reach share",)))
    rows.append(
        Row(job=IN_PLACE, fault=kinds.share_gone(), when="-- resize", words=little, says=("reach share",), again="ok")
    )
    rows += [Row(job=BACKUP, fault=kinds.share_stale(), when=when) for when in (SHRINK, DUMP)]
    rows += [Row(job=BACKUP, fault=kinds.second_writer(), when=when, status="ok") for when in (SHRINK, DUMP)]
    return rows


def _tools() -> list[Row]:
    rows = []
    for how in ("crashes", "talks nonsense"):
        rows += [
            Row(job=BACKUP, fault=kinds.tool(name, how), when=when)
            for name, when in (
                ("lsblk", ""),
                ("blkid", ""),
                ("sfdisk", ""),
                ("lvm", ""),
                ("dumpe2fs", ""),
                ("dmsetup", ""),
                ("dmsetup", SHRINK),
                ("lvm", SHRINK),
                ("sfdisk", SHRINK),
                ("resize2fs", SHRINK),
                ("mkswap", SHRINK),
            )
        ]
        rows += [Row(job=RESTORE, fault=kinds.tool(name, how), when=WRITE) for name in ("sfdisk", "lvm")]
        rows.append(Row(job=RESTORE, fault=kinds.tool("e2fsck", how), when=WRITE, status=FSCK[how]))
    rows.append(Row(job=BACKUP, fault=kinds.tool("e2fsck", "crashes"), when=SHRINK))
    rows += [
        Row(job=job, fault=kinds.tool_hangs(name), when=when, says=(f"'{name}", "did nothing for"))
        for job, name, when in (
            (BACKUP, "lsblk", ""),
            (BACKUP, "resize2fs", SHRINK),
            (BACKUP, "lvm", SHRINK),
            (RESTORE, "sfdisk", WRITE),
            (RESTORE, "e2fsck", WRITE),
        )
    ]
    return rows


def _machine() -> list[Row]:
    # The name is refused until somebody has looked, and removed what is left.
    rows = [Row(job=BACKUP, fault=kinds.power_cut(), when=when, status="", again="refused") for when in (SHRINK, DUMP)]
    rows += [Row(job=RESTORE, fault=kinds.power_cut(), when=when, status="") for when in (WRITE, CHECK)]
    rows += [
        Row(job=job, fault=kinds.clock("back", "2001-01-01"), when=when, status="ok")
        for job, when in ((BACKUP, SHRINK), (BACKUP, DUMP), (IN_PLACE, "-- resize"), (RESTORE, WRITE))
    ]
    rows += [Row(job=BACKUP, fault=kinds.clock("ahead", "2037-01-01"), when=DUMP, status="ok")]
    rows += [Row(job=BACKUP, fault=kinds.memory(), when=when, status="ok") for when in (SHRINK, DUMP)]
    rows += [Row(job=BACKUP, fault=kinds.device_renamed(), when=when) for when in ("== plan", SHRINK)]
    rows += [Row(job=job, fault=kinds.terminated(), when=DUMP) for job in (BACKUP,)]
    rows += [Row(job=RESTORE, fault=kinds.terminated(), when=WRITE)]
    rows += [Row(job=IN_PLACE, fault=kinds.terminated(), when="-- resize", again="ok")]
    return rows


def _sets() -> list[Row]:
    rows = []
    for job in (RESTORE, VERIFY):
        for part in ("frame", "hole frame", "seek table", "truncated", "manifest", "SHA256SUMS", "block map"):
            rows.append(Row(job=job, fault=kinds.set_damage(part)))
        rows.append(Row(job=job, fault=kinds.set_damage("disk.img.bmap"), status="ok" if job == RESTORE else "failed"))
        rows.append(Row(job=job, fault=kinds.set_damage("agent.log"), status="ok" if job == RESTORE else "failed"))
        rows += [Row(job=job, fault=kinds.set_damage(part), source="gz") for part in ("gzip", "gzip, truncated")]
    return rows


def _growing() -> list[Row]:
    when = "== grow"
    rows = [Row(job=GROW, fault=kinds.disk_error(call), when=when) for call in ("pread", "pwrite")]
    rows.append(Row(job=GROW, fault=kinds.disk_gone(), when=when))
    for how in ("crashes", "talks nonsense"):
        names = ("sfdisk", "lvm", "dmsetup", "e2fsck", "resize2fs", "mkswap")
        rows += [
            Row(job=GROW, fault=kinds.tool(name, how), when=when, status=FSCK[how] if name == "e2fsck" else "failed")
            for name in names
        ]
    rows.append(Row(job=GROW, fault=kinds.power_cut(), when=when, status="", again="ok"))
    rows.append(Row(job=GROW, fault=kinds.terminated(), when=when))
    return rows


ROWS = (*_disks(), *_shares(), *_tools(), *_machine(), *_sets(), *_growing())
# The six that differ most, which the core plays.
CORE = (
    "backup: disk: read error at '== dump'",
    "restore: disk: write error at '== write'",
    "backup: share: its server is restarted at '== dump'",
    "backup: resize2fs talks nonsense at '== shrink'",
    "restore: set: frame",
    "restore: power cut at '== write'",
)
