"""lvpack.mode=inplace: the disk itself is shrunk, compacted and truncated, step by step, and each step is written down.

Before the first write the plan and the source's tables are on the share. A boot that finds the journal of this
machine there goes on where the last one stopped and never plans again.
"""

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from lvpack_agent import VERSION
from lvpack_agent.backup import claim as claims
from lvpack_agent.backup import journal, sameday
from lvpack_agent.backup import tables as rescue
from lvpack_agent.backup.claim import Claim
from lvpack_agent.backup.dump import dump, set_name
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal import Journal, Merge, Record
from lvpack_agent.backup.survey import find_source, refuse_marked, refuse_several, surveyed
from lvpack_agent.devices import blkid, blockdev, dmsetup, lsblk
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Disagreement, Failed, LvpackError, Refused
from lvpack_agent.filesystems import ext, swap
from lvpack_agent.filesystems import resize as shrink
from lvpack_agent.image import check, files, write
from lvpack_agent.inplace import disk as volumes
from lvpack_agent.inplace import merge as merging
from lvpack_agent.inplace import steps
from lvpack_agent.inplace.disk import Volumes
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
from lvpack_agent.layout.content import SUSPEND_TYPES
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import pvlabel, pvmove, tags, vgreport
from lvpack_agent.lvm import rewrite as metadata
from lvpack_agent.plan import sizes, text
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe import convert
from lvpack_agent.probe.discover import Found
from lvpack_agent.probe.open import Opened
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run as run_tool
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.sizes import MIB, human
from lvpack_agent.snapshots import device_store, overlay, stores
from lvpack_agent.snapshots.device_store import DeviceStore
from lvpack_agent.snapshots.file_store import FileStore
from lvpack_agent.undo import Undo

_GOES_ON = "the next boot with the same options goes on from here"

PHASES = {
    MoveExtents: "compact",
    RemoveArea: "truncate",
    ResizePv: "truncate",
    AddArea: "truncate",
    WriteTable: "truncate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What a first boot decided; layout is the folder with the source's tables, journal None if no step is needed."""

    name: str
    plan: Plan
    layout: Path
    journal: Journal | None


def pack(job: Job) -> str:
    """Shrink, compact and truncate the source's disk, dump it, and regrow it, as asked; return the closing message."""
    settings, session, share = job.settings, job.session, job.share
    with ExitStack() as holding:
        with Undo() as undo:
            with session.phase("probe"):
                all_disks, found = find_source(settings, session, undo)
                session.disk = found.disk.path
                refuse_several(found)
                journal.refuse_former(share, found.vg_uuid)
                folder = journal.folder(share, found.vg_uuid, journal.identity(found.disk))
                claim = holding.enter_context(claims.held(folder, session.say))
                entry = journal.find(folder, claim)
                # A folder may have been renamed after its disk, but the label of a scratch device was not.
                owner = journal.folder(share, found.vg_uuid, entry.record.disk) if entry else folder
                store = _store(settings, all_disks, found.disk, folder, owner.name)
            if entry and entry.progress.finished:
                if _is_of_this_run(entry, found, settings, share):
                    # The power went just after its end.
                    session.name = entry.record.name if settings.dump else ""
                    return f"an earlier boot finished the run ({entry.progress.finished}); nothing has changed since"
                entry = None
            if entry is None:
                others = journal.unfinished(share, found.vg_uuid)
                refuse_marked(found, others, folder.name)
                for other in others:
                    _refuse_renamed(other, folder.name, found)
                    session.say(
                        f"journal: the run in '{other.name}' on the share is not finished; it is of another disk"
                    )
                if settings.dump and not settings.name:
                    sameday.refuse_second(share, found.vg_uuid, time.time())
                begun = _begin(job, store, found, folder, claim)
            else:
                begun = _resumed(entry, settings, session)
        session.name = begun.name if settings.dump else ""
        session.measured(source_disk=found.disk.size, packed_disk=begun.plan.packed_size)
        with Undo() as undo:
            spared = (found.disk, *lsblk.holding(all_disks, settings.scratch))
            blockdev.set_read_only(tuple(d for d in all_disks if d not in spared), undo)
            undo.callback(run_tool, ["blockdev", "--rereadpt", found.disk.path], ok=range(256))
            try:
                return _Work(begun, found.disk, store, session, job.folder).perform(job)
            except OSError as error:
                raise Failed(
                    f"cannot go on: {error.strerror or error}" + (f": '{error.filename}'" if error.filename else ""),
                    hint=f"check the share, the network and the disks (dmesg); {_GOES_ON}",
                ) from error
            except Disagreement:
                raise
            except LvpackError as error:
                if not begun.journal or begun.journal.progress.finished:
                    raise
                kind = Refused if isinstance(error, Refused) else Failed
                raise kind(error.message, hint="; ".join(filter(None, [error.hint, _GOES_ON]))) from error


def _resumed(entry: Journal, settings: Settings, session: Session) -> _Begun:
    """Return what an earlier boot decided. Raises Refused if this version would take other steps to it."""
    record, progress = entry.record, entry.progress
    session.say(
        f"resume: the in-place run of {record.created} (VG {record.vg}, {record.vg_uuid}): "
        f"{progress.done} steps are done{', a merge is under way' if progress.merge else ''}; "
        "its plan holds, and nothing is planned again"
    )
    if steps.form(_all_steps(record.plan, record.unclean)) != record.steps:
        raise Refused(
            f"cannot go on with the in-place run in '{entry.folder.name}': lvpack {record.lvpack} began it, its steps "
            f"are not those of this version, {VERSION}",
            hint="boot the live image of that version to finish it",
        )
    if settings.name not in ("", record.name):
        session.warn(f"the image set's name is {record.name}, as this run began; lvpack.name is not used")
    return _Begun(name=record.name, plan=record.plan, layout=entry.folder / "layout", journal=entry)


def _all_steps(planned: Plan, unclean: tuple[str, ...]) -> tuple[Step, ...]:
    return steps.shrinking(planned, unclean) + steps.regrowing(planned)


def _is_of_this_run(entry: Journal, found: Found, settings: Settings, share: Path) -> bool:
    """Return whether a finished run is what the command line asks for, and its disk was not used since."""
    record = entry.record
    if settings.name not in ("", record.name) or (settings.dump and not (share / record.name).exists()):
        return False
    shrunk = len(steps.shrinking(record.plan, record.unclean))
    final = record.plan.source if entry.progress.done > shrunk else record.plan.target
    now = _extents(found)
    return bool(
        now and steps.same_extents(now, final.vgs[0]) and entry.progress.heads == volumes.heads(found.disk.path, final)
    )


def _extents(found: Found) -> VolumeGroup | None:
    """Return the VG on the found disk, without what its LVs hold; None if it is none that lvpack packs."""
    [vg] = found.vgs
    try:
        return convert.volume_group(vg, {pv.device: (0, number) for number, pv in enumerate(vg.pvs, 1)}, {})
    except (Failed, KeyError):  # a pvmove is under way
        return None


def _refuse_renamed(other: Path, own: str, found: Found) -> None:
    """Raise Refused if a run that is not finished has left a disk just so: then it may be this one, under another name.

    A disk can have another serial number on another controller or hypervisor.
    """
    try:
        record, progress = journal.read(other) or (None, None)
    except LvpackError:
        return
    now = _extents(found)
    if not record or not progress or not now:
        return
    if is_as_left(now, record, progress.done):
        raise Refused(
            f"cannot begin an in-place run: the one in '{other.name}' on the share is not finished, and this disk is "
            "as that left its own",
            hint=f"if it is the same disk, with another name than then ({record.disk}), rename that folder to '{own}' "
            "and boot again; if it is not, move the folder away",
        )


def is_as_left(vg: VolumeGroup, record: Record, done: int) -> bool:
    """Return whether a VG is as a run left its own after so many steps, and not as that was before them."""
    states = steps.states(record.plan.source.vgs[0], _all_steps(record.plan, record.unclean))
    left = any(steps.same_extents(vg, state) for state in states[done : done + 2])
    return left and not steps.same_extents(vg, states[0])


def _store(
    settings: Settings, all_disks: tuple[BlockDevice, ...], source: BlockDevice, folder: Path, owner: str
) -> FileStore | DeviceStore:
    if settings.scratch in ("auto", "share"):
        return FileStore(folder, "store-")
    return device_store.scratch_device(all_disks, settings.scratch, (source,), owner)


def _begin(job: Job, store: FileStore | DeviceStore, found: Found, folder: Path, claim: Claim) -> _Begun:
    """Probe, plan, and have all that a later boot needs on the share. Nothing is written to the disk."""
    settings, session, scratch = job.settings, job.session, job.folder
    overlaid = overlay.overlay(found.paths, lambda undo: stores.in_memory(scratch / "store", undo))
    with overlaid as over, Undo() as source_undo:
        with session.phase("plan"):
            survey = source_undo.enter_context(
                surveyed(found, over.devices, session, margin=settings.margin, rebuild=False)
            )
            planned, source = survey.plan, survey.source
            shown = text.as_text(planned, text.inplace_costs(planned))
            session.say(shown)
        name = set_name(settings.name, survey.host)
        if settings.dump:
            for taken in (name, name + files.PARTIAL):
                write.refuse_taken(job.share, taken)
        _refuse_overlay_only(planned)
        _refuse_metadata(source)
        todo = steps.shrinking(planned, source.unclean)
        rescue.write(scratch, source, {found.vg: lvm.metadata_text(found.vg, source.pvs, scratch)}, shown)
        with session.phase("check"):
            _refuse_damage(source, todo, session)
    begun = _Begun(name=name, plan=planned, layout=scratch / "layout", journal=None)
    if not todo:
        session.say("the disk is as the plan wants it: nothing is written to it")
        return begun
    if not found.vgs[0].pvs[0].allocatable:
        raise Refused(
            f"cannot shrink in place: the PV of VG '{found.vg}' is not allocatable, so LVM moves nothing on it",
            hint="make it so with pvchange --allocatable y",
        )
    with session.phase("journal"):
        needed = sizes.STORE_FLOOR + max(
            (sizes.rewritten(s.old, s.new) for s in todo if isinstance(s, ResizeFilesystem)), default=0
        )
        if needed > store.room():
            raise Refused(
                f"cannot shrink in place: the store for the largest filesystem needs about {human(needed)}, "
                f"{store.place} has room for {human(store.room())}",
                hint="make room on the share, name an empty disk with lvpack.scratch=/dev/…, or shrink less with a "
                "larger lvpack.margin",
            )
        record = Record(
            schema=journal.SCHEMA,
            lvpack=VERSION,
            created=journal.now(),
            name=name,
            vg=found.vg,
            vg_uuid=found.vg_uuid,
            disk=journal.identity(found.disk),
            plan=planned,
            unclean=source.unclean,
            steps=steps.form(_all_steps(planned, source.unclean)),
        )
        entry = journal.begin(folder, claim, record, begun.layout)
        session.say(f"journal: {entry.folder.name} on the share; do not start the server before this run is finished")
        try:
            with Undo() as trial:  # that a store can be had is known before the first write
                store.fresh(MIB, trial)
            store.drop()
        except LvpackError:
            entry.discard()
            raise
    return replace(begun, journal=entry)


def _refuse_overlay_only(planned: Plan) -> None:
    """Raise Refused for what only overlay mode does: partitions that move."""
    old, new = planned.source.disks[0], planned.target.disks[0]
    for before, after in zip(old.rows, new.rows, strict=True):
        if before.start != after.start and before is not old.extended:
            raise Refused(
                f"cannot pack disk '{old.path}' in place: partition {before.number} stands after the PV and would have "
                "to move",
                hint="use lvpack.mode=overlay, which moves it in the image only",
            )


def _refuse_metadata(source: Opened) -> None:
    """Raise Refused unless every metadata area of the PV is whole, in use, and has the same text."""
    [vg], [device] = source.layout.vgs, source.pvs
    try:
        pvlabel.check(device)
    except Failed as why:
        raise Refused(
            f"cannot pack VG '{vg.name}' in place: {why.message}", hint=why.hint or "use lvpack.mode=overlay"
        ) from why


def _refuse_damage(source: Opened, todo: tuple[Step, ...], session: Session) -> None:
    """Raise Refused if e2fsck finds more in a filesystem than what it repairs without a question (e2fsck(8), -p)."""
    damage = list(source.findings)
    resized = {step.name for step in todo if isinstance(step, ResizeFilesystem)}
    for name, device in source.ext_devices():
        if name in resized:
            damage += filter(None, [shrink.check_filesystem(device, name, session.say, lambda: None)])
        else:
            session.say(f"check {name} (read-only)")
            try:
                ext.check(device)  # nothing will repair it, and the packed disk must pass
            except Failed as failed:
                damage.append(f"{name}: {failed.message}")
    if damage:
        raise Refused(
            f"cannot shrink this disk in place: {'; '.join(damage)}",
            hint="repair it with e2fsck -f first, or use lvpack.mode=overlay, which repairs only the image",
        )


class _Work:
    """The steps of one run on its disk."""

    def __init__(
        self, begun: _Begun, disk: BlockDevice, store: FileStore | DeviceStore, session: Session, scratch: Path
    ) -> None:
        self._begun, self._disk, self._store, self._session, self._scratch = begun, disk, store, session, scratch
        unclean = begun.journal.record.unclean if begun.journal else ()
        self._shrinking = steps.shrinking(begun.plan, unclean) if begun.journal else ()
        self._steps = _all_steps(begun.plan, unclean) if begun.journal else ()
        self._states = steps.states(begun.plan.source.vgs[0], self._steps)
        self._marks = steps.marks(self._steps)

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
                    _refuse_suspended(f"LV {lv.name}", opened.lvs[lv.uuid])
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
                            if not steps.same_extents(opened.extents(), self._states[number + 1]):
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
                _refuse_suspended(step.name, device)
                if (kind := blkid.identify(device).get("TYPE", "swap")) != "swap":
                    raise volumes.disagree(f"{step.name} holds {kind}")
                shrink.make_swap(device, step.new)
            case ReduceLv():
                _check_fits(opened.lvs[step.lv], step)
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
                _remove_if_abandoned(share / (self._session.name + files.PARTIAL), entry.folder)
            folder = writer.begin(self._session.name, leftover=mine)
            if entry and not mine:
                entry.advance(dumping=True)
            files.copy_layout(self._begun.layout, folder)
            dump(job, folder, [self._packed(undo)], planned)


def _remove_if_abandoned(partial: Path, beside: Path) -> None:
    """Remove the folder of a set if it is empty and not new.

    The power went before the journal said whose it is. Another machine that has just made it puts something in it.
    """
    with suppress(OSError):
        if claims.server_time(beside) - partial.stat().st_mtime > claims.SILENT_SECONDS:
            partial.rmdir()


def _refuse_suspended(name: str, device: str) -> None:
    if (kind := blkid.identify(device).get("TYPE", "")) in SUSPEND_TYPES:
        raise Refused(
            f"cannot go on: {name} is '{kind}', the memory of a hibernated system",
            hint="start the server and shut it down in full",
        )


def _check_fits(device: str, step: ReduceLv) -> None:
    """Raise Disagreement unless an LV holds what was planned and nothing of it is cut off.

    The journal says that it was resized; but the server may have been started since, or the disk rolled back.
    """
    uuid, size = blkid.identify(device).get("UUID", ""), 0
    if step.content.is_ext and uuid == step.content.uuid:
        block = ext.read(device)
        size = block.block_count * block.block_size
    elif step.content.type == "swap" and (header := swap.read(device)):
        size = header.size
    if uuid != step.content.uuid or size != step.content.size:
        raise volumes.disagree(
            f"{step.name} holds {uuid or 'nothing'} of {size:,} bytes, not {step.content.uuid} of {step.content.size:,}"
        )
