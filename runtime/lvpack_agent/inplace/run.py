"""lvpack.mode=inplace: the disk itself is shrunk, compacted and truncated, step by step, and each step is written down.

Before the first write the plan and the source's tables are on the share. A boot that finds the journal of this
machine there goes on where the last one stopped and never plans again.
"""

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from lvpack_agent.backup import journal
from lvpack_agent.backup.dump import dump
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.devices import blkid, blockdev, dmsetup
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.filesystems import ext
from lvpack_agent.filesystems import resize as shrink
from lvpack_agent.image import check, files, write
from lvpack_agent.inplace import disk as volumes
from lvpack_agent.inplace import merge as merging
from lvpack_agent.inplace import procedure
from lvpack_agent.inplace.disk import Volumes
from lvpack_agent.inplace.dump import remove_if_abandoned
from lvpack_agent.inplace.procedure import all_steps
from lvpack_agent.inplace.refuse import check_fits, refuse_suspended
from lvpack_agent.inplace.states import marks, same_extents, states
from lvpack_agent.inplace.steps import (
    AddArea,
    ExtendLv,
    MakeSwap,
    MarkVg,
    MoveExtents,
    ReduceLv,
    RemoveArea,
    ResizeFilesystem,
    ResizePv,
    Step,
    WriteTable,
)
from lvpack_agent.inplace.work import Begun
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import pvlabel, pvmove, tags, vgreport
from lvpack_agent.lvm import rewrite as metadata
from lvpack_agent.plan import sizes
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run as run_tool
from lvpack_agent.session import Session
from lvpack_agent.sizes import human
from lvpack_agent.snapshots.device_store import DeviceStore
from lvpack_agent.snapshots.file_store import FileStore
from lvpack_agent.undo import Undo

PHASES = {
    MoveExtents: "compact",
    RemoveArea: "truncate",
    ResizePv: "truncate",
    AddArea: "truncate",
    WriteTable: "truncate",
}


class Work:
    """The steps of one run on its disk."""

    def __init__(
        self, begun: Begun, disk: BlockDevice, store: FileStore | DeviceStore, session: Session, scratch: Path
    ) -> None:
        self._begun, self._disk, self._store, self._session, self._scratch = begun, disk, store, session, scratch
        unclean = begun.journal.record.unclean if begun.journal else ()
        self._shrinking = procedure.shrinking(begun.plan, unclean) if begun.journal else ()
        self._steps = all_steps(begun.plan, unclean) if begun.journal else ()
        self._states = states(begun.plan.source.vgs[0], self._steps)
        self._marks = marks(self._steps)

    def perform(self, job: Job) -> str:
        """Do what is left of the run; return the closing message."""
        settings = job.settings
        planned, entry, disk = self._begun.plan, self._begun.journal, self._disk
        if entry:
            self._catch_up(entry)
            self._do(entry, len(self._shrinking))
            self._session.measured(
                shrink_estimate=planned.store,
                shrink_moved=entry.progress.shrink_moved,
                compact_estimate=planned.moving,
                compact_moved=entry.progress.compact_moved,
            )
            self._session.say(
                f"moved: shrink {human(entry.progress.shrink_moved)} (estimate {human(planned.store)}), compaction "
                f"{human(entry.progress.compact_moved)} (estimate {human(planned.moving)})"
            )
        message = f"disk {disk.path} ({human(disk.size)}) is packed into its first {human(planned.packed_size)}"
        if not settings.dump and not (entry and entry.progress.done > len(self._shrinking)):
            self._check()
        elif settings.dump and not (entry and entry.progress.dumped):
            self._dump(job)
            if entry:
                entry.advance(dumped=True)
        if settings.dump:
            message += f", and stored as image set {self._session.name}"
        if entry and (settings.regrow or entry.progress.done > len(self._shrinking)):
            self._do(entry, len(self._steps))
            with self._session.phase("check"), verified([disk.path], planned.source, self._session.say):
                message += "; it has its former sizes again"
        if entry:
            entry.claim.check()
            self._store.release()
            final = planned.source if entry.progress.done > len(self._shrinking) else planned.target
            entry.advance(finished=journal.now(), heads=volumes.heads(disk.path, final))
        return message

    def _catch_up(self, entry: Journal) -> None:
        """See whether the disk is where the journal says, or one step ahead, which is written down then."""
        done, source = entry.progress.done, self._begun.plan.source.disks[0]
        if self._disk.size != source.size and done < len(self._shrinking):
            raise Refused(
                f"cannot go on: disk '{self._disk.path}' has {self._disk.size:,} bytes, it had {source.size:,} "
                "when this run began",
                hint="attach the disk as it was; it can be cut when it is truncated",
            )
        with volumes.opened(self._disk.path, self._begun.plan) as opened:
            self._check_tags(entry, opened.report())
            found = volumes.position(opened, self._begun.plan, self._steps, self._states, done)
            for lv in self._begun.plan.source.vgs[0].lvs:
                if lv.content.type == "swap":
                    refuse_suspended(f"LV {lv.name}", opened.lvs[lv.uuid])
            self._mend_metadata(opened)
            if left := pvmove.left_over(opened.report()):
                self._session.say(f"remove LV {left.name}, which a pvmove that was cut off at its end has left")
                lvm.remove(opened.vg, left.name, opened.pv)
        if found > done:
            self._flush()
            self._written(entry, self._steps[done])

    def _check_tags(self, entry: Journal, vg: vgreport.Vg) -> None:
        """Raise Disagreement if the journal does not know of a merge that the disk tells of, or the other way round."""
        progress, begun = entry.progress, tags.merges(vg.tags)
        merge = progress.merge
        if unknown := sorted(set(begun) - {progress.merged, merge.store if merge else ""}):
            raise Disagreement(
                f"cannot go on: the journal in '{entry.folder.name}' on the share is older than the disk, on which the "
                f"merge of store {unknown[0]} has begun",
                hint="the file server has lost what it had acknowledged, or the folder was put back from a backup: "
                f"bring back the folder as that boot left it, with store-{unknown[0]} if the store was in it. Do not "
                "start this machine's own system: a filesystem may be half merged; see docs/in-place.md",
            )
        marked = tags.TAG in vg.tags
        if marked not in self._marks[progress.done : progress.done + 2]:
            self._refuse_disk(entry, f"its VG has {'the' if marked else 'no'} tag {tags.TAG}")
        if merge and merge.begun and merge.store not in begun:
            self._refuse_disk(entry, f"its VG has no tag {tags.MERGE_TAG}{merge.store}")

    def _refuse_disk(self, entry: Journal, why: str) -> NoReturn:
        raise Disagreement(
            f"cannot go on: disk '{self._disk.path}' is not as the run in '{entry.folder.name}' left its own: {why}",
            hint="it is a clone of that disk, or was rolled back to an earlier state; nothing was written to it now. "
            "Finish the run on its own disk, as that was left; for this one use another share, or give it a serial "
            "number",
        )

    def _mend_metadata(self, opened: Volumes) -> None:
        """Give all metadata areas the newest text: LVM does not flush between them, a cut may leave any one older."""
        try:
            pvlabel.check(opened.pv)
        except Failed as why:
            self._session.say(f"write the metadata of VG {opened.vg} anew: {why.message}")
            lvm.update_metadata(opened.vg, opened.pv)
            self._flush()

    def _do(self, entry: Journal, end: int) -> None:
        """Do the steps before end that are not done, phase by phase."""
        first = entry.progress.done
        left = enumerate(self._steps[first:end], first)
        for phase, group in groupby(left, key=lambda pair: self._phase(*pair)):
            with self._session.phase(phase):
                for on_table, some in groupby(group, key=lambda pair: isinstance(pair[1], WriteTable)):
                    if on_table:
                        for _, step in some:
                            self._write_table(entry, step)
                        continue
                    with volumes.opened(self._disk.path, self._begun.plan) as opened:
                        for number, step in some:
                            self._session.say(f"-- {step}")
                            entry.claim.check()
                            self._step(entry, opened, step, self._states[number + 1])
                            self._flush()
                            if not same_extents(opened.extents(), self._states[number + 1]):
                                raise Failed(
                                    f"cannot trust VG '{opened.vg}': after '{step}' its extents are not as planned"
                                )
                            self._written(entry, step)

    def _phase(self, number: int, step: Step) -> str:
        return PHASES.get(type(step), "shrink") if number < len(self._shrinking) else "regrow"

    def _write_table(self, entry: Journal, step: Step) -> None:
        assert isinstance(step, WriteTable)
        self._session.say(f"-- {step}")
        entry.claim.check()
        volumes.write_table(self._disk.path, step, self._disk.sector_size)
        self._flush()
        self._written(entry, step)

    def _written(self, entry: Journal, step: Step) -> None:
        """Write down that the next step is done."""
        progress, moved = entry.progress, 0
        if isinstance(step, MoveExtents) and progress.done < len(self._shrinking):
            moved = step.move.count * self._begun.plan.source.vgs[0].extent_size
        merged = progress.merge.store if progress.merge else ""
        shrunk = progress.merge.size if progress.merge and progress.done < len(self._shrinking) else 0
        entry.advance(
            done=progress.done + 1,
            merge=None,
            merged=merged or progress.merged,
            shrink_moved=progress.shrink_moved + shrunk,
            compact_moved=progress.compact_moved + moved,
        )
        if merged:
            self._store.drop(merged)

    def _flush(self) -> None:
        blockdev.flush(self._disk.path)

    def _step(self, entry: Journal, opened: Volumes, step: Step, wanted: VolumeGroup) -> None:
        """Do a step, after which the VG's extents are as wanted."""
        match step:
            case ResizeFilesystem():
                self._resize(entry, opened, step)
            case MarkVg():
                merges = [f"{tags.MERGE_TAG}{token}" for token in tags.merges(opened.report().tags)]
                if step.on:
                    lvm.tag(opened.vg, opened.pv, add=[tags.TAG], remove=merges)
                else:
                    lvm.tag(opened.vg, opened.pv, remove=[tags.TAG, *merges])
            case MakeSwap():
                device = opened.lvs[step.lv]
                refuse_suspended(step.name, device)
                if (kind := blkid.identify(device).get("TYPE", "swap")) != "swap":
                    raise volumes.disagree(f"{step.name} holds {kind}")
                shrink.make_swap(device, step.new)
            case ReduceLv():
                check_fits(opened.lvs[step.lv], step)
                lvm.reduce(opened.vg, opened.names[step.lv], step.extents, opened.pv)
            case ExtendLv():
                if self._is_striped(step.lv):
                    self._rewrite(entry, opened, wanted)
                else:
                    lvm.extend(opened.vg, opened.names[step.lv], step.segment.pe, step.segment.count, opened.pv)
            case MoveExtents():
                size = step.move.count * self._begun.plan.source.vgs[0].extent_size
                moving = pvmove.under_way(opened.report()) or pvmove.begin(opened.vg, opened.pv, step.move)
                pvmove.finish(moving, opened.pv, size, self._flush, self._session.say)
            case RemoveArea():
                pvlabel.remove_second_area(opened.pv)
            case AddArea():
                # Its first page may hold the end of the last extent, which was written by another way.
                run_tool(["blockdev", "--flushbufs", opened.pv])
                pvlabel.add_second_area(opened.pv, step.area)
            case ResizePv():
                [vg], [pv] = self._begun.plan.source.vgs, self._begun.plan.source.vgs[0].pvs
                lvm.resize_pv(opened.pv, pv.pe_start + step.extents * vg.extent_size)
            case WriteTable():
                raise AssertionError("a table is written while nothing is open")

    def _is_striped(self, lv: str) -> bool:
        [found] = [found for found in self._begun.plan.source.vgs[0].lvs if found.uuid == lv]
        return any(s.others for s in found.segments)

    def _rewrite(self, entry: Journal, opened: Volumes, wanted: VolumeGroup) -> None:
        """Give LVs the wanted segments by the VG's metadata itself.

        lvextend(8) puts stripes on one PV side by side only, and no linear segment after a striped one (LVM 2.03.31).
        """
        former = (entry.folder / "layout" / f"{opened.vg}.vgcfgbackup").read_bytes().decode("utf-8", "surrogateescape")
        lvm.deactivate(opened.vg, [opened.pv])
        text = lvm.metadata_text(opened.vg, [opened.pv], self._scratch)
        lvm.change_metadata(opened.vg, metadata.with_segments(text, wanted, former), opened.pv, self._scratch)
        lvm.activate(opened.vg, [opened.pv])

    def _resize(self, entry: Journal, opened: Volumes, step: ResizeFilesystem) -> None:
        device = opened.lvs[step.lv] if step.lv else opened.partitions[step.partition]
        merge = entry.progress.merge
        if merge is None or not (merge.begun or merge.store in tags.merges(opened.report().tags)):
            # Nothing was merged, or the VG would say so: the disk has all, what an earlier boot left in a store is old.
            self._store.drop()
            merge = self._resized(entry, device, step)
        if not merge.begun:
            self._tell_of_merge(opened, merge.store)
            merge = replace(merge, begun=True)
            entry.advance(merge=merge)
        self._session.say(f"-- merge {step.name} ({human(merge.size)})")
        with Undo() as undo:
            merging.merge(device, step.name, merge, self._store.again(merge.store, undo), self._session.say)
        self._session.say(f"check {step.name} after the merge (read-only)")
        try:
            ext.check(device)
        except Failed as failed:
            raise Disagreement(
                f"cannot trust {step.name}, which was merged: {failed.message}",
                hint="journal and store are kept. Do not start this machine's own system; look at the disk and the "
                "share (dmesg), and restore this filesystem from a backup if both are sound",
            ) from failed

    def _resized(self, entry: Journal, device: str, step: ResizeFilesystem) -> Merge:
        """Resize a filesystem on a new snapshot and write down that it shall be merged."""
        found = blkid.identify(device)
        if found.get("UUID", "") != step.old.uuid:
            raise volumes.disagree(f"{step.name} holds {found.get('TYPE', 'nothing')} {found.get('UUID', '')}")
        estimate = sizes.rewritten(step.old, step.new) if step.old.free else 0
        token = ""
        try:
            with Undo() as undo:
                space = self._store.fresh(size_of(device), undo)
                token = space.token
                merge, findings = merging.resize(
                    device, step.name, step.new, space, estimate, self._scratch / "filesystem", self._session.say
                )
            for finding in findings:
                self._session.warn(finding)
            entry.advance(merge=merge)
        except BaseException:
            if token:
                self._store.drop(token)  # it may have filled the share, on which the next boot must write its claim
            raise
        return merge

    def _tell_of_merge(self, opened: Volumes, token: str) -> None:
        """Have it on the disk that the merge of a store begins: a journal that does not know of it is too old."""
        before = tags.merges(opened.report().tags)
        if token not in before:
            former = [f"{tags.MERGE_TAG}{other}" for other in before]
            lvm.tag(opened.vg, opened.pv, add=[f"{tags.MERGE_TAG}{token}"], remove=former)
            self._flush()

    def _packed(self, undo: Undo) -> str:
        piece = dmsetup.Linear(device=self._disk.path, offset=0, size=self._begun.plan.packed_size)
        return dmsetup.create("lvpack-packed", dmsetup.linear_table([piece]), undo)

    def _check(self) -> None:
        with (
            Undo() as undo,
            self._session.phase("check"),
            verified([self._packed(undo)], self._begun.plan.target, self._session.say),
        ):
            pass

    def _dump(self, job: Job) -> None:
        share = job.share
        planned, entry = self._begun.plan, self._begun.journal
        if entry and (share / self._session.name).exists():
            # Power went between the set's last rename and the journal's next line; else the name is somebody else's.
            manifest = check.read_manifest(share / self._session.name)
            if manifest.plan == planned and manifest.created >= entry.record.created:
                check.check_images(share / self._session.name, manifest, self._session.say)
                return
        mine = entry is not None and entry.progress.dumping
        with write.Writer(share) as writer, Undo() as undo:
            if entry and not mine:
                remove_if_abandoned(share / (self._session.name + files.PARTIAL), entry.folder)
            folder = writer.begin(self._session.name, leftover=mine)
            if entry and not mine:
                entry.advance(dumping=True)
            files.copy_layout(self._begun.layout, folder)
            dump(job, folder, [self._packed(undo)], planned)
