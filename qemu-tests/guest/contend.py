"""In the live image: back up and restore by lvpack and by others, in turn, and measure each.

python3 contend.py JOB.json RESULTS.jsonl does what the job says and adds a line of JSON for each run.

One file, as it stands alone in the guest.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lvpack_agent.image import blockmap
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.ranges import Range, complement
from lvpack_agent.network.options import network_options
from lvpack_agent.network.up import Network
from lvpack_agent.probe.open import Volume, mapped, opened
from lvpack_agent.processes import run, spawn
from lvpack_agent.report import RESULT_MARK, parse_result
from lvpack_agent.secret.secrets import Secrets
from lvpack_agent.session import Session
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares.mounted import mounted
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.url import parse_url
from lvpack_agent.undo import Undo

SHARE, SET = Path("/run/bench"), "packed"
TREES = Path("/run/trees")
LOG = Path("/run/lvpack/agent.log")
MIB = 1 << 20
SAMPLE_SECONDS = 0.25
WARMING_UP = -1


def busy_seconds() -> float:
    """Return the time that all processors have worked, kernel threads included (proc_stat(5))."""
    user, nice, system, _, _, irq, softirq = (int(n) for n in Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Memory(threading.Thread):
    """Samples the anonymous memory of a session's processes: the most of all together, and of the first of them.

    Page cache and the copy-on-write store are not in it.
    """

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self._session, self.all, self.first = session, 0, 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            found = dict(self._anonymous())
            self.all = max(self.all, sum(found.values()))
            self.first = max(self.first, found.get(self._session, 0))

    def _anonymous(self) -> Iterator[tuple[int, int]]:
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == self._session:
                    status = (entry / "status").read_text()
                    yield int(entry.name), int(status.split("RssAnon:")[1].split()[0]) * 1024

    def end(self) -> None:
        self._ended.set()
        self.join()


class Contest:
    """The runs of one job; each is written down as soon as it ended."""

    def __init__(self, job: dict[str, Any], results: Path) -> None:
        self.job, self._results, self.round = job, results, WARMING_UP

    def rounds(self) -> Iterator[int]:
        """Count the rounds of the job, and note for each result in which it was."""
        for number in range(self.job["rounds"]):
            self.round = number
            yield number

    def measured(self, name: str, command: list[str], **more: Any) -> dict[str, Any]:
        """Run a command, with nothing of disks and share in memory, and return what it cost.

        What it prints is shown if it fails.
        """
        before = self._stored()
        self._forget()
        busy, begun = busy_seconds(), time.monotonic()
        with Path("/run/last-words").open("wb") as words:
            child = spawn(command, stdout=words.fileno(), stderr=words.fileno(), new_session=True)
            memory = Memory(child.pid)
            memory.start()
            status = child.wait()
        wall = time.monotonic() - begun
        memory.end()
        if status:
            last = Path("/run/last-words").read_text(errors="replace")[-2000:]
            raise SystemExit(f"{name} ended with {status}: {last}")
        return {
            "name": name,
            "round": self.round,
            "wall": wall,
            "cpu": busy_seconds() - busy,
            "memory": memory.all,
            "memory_first": memory.first,
            "stored": self._stored() - before,
            **more,
        }

    def shell(self, name: str, script: str, **more: Any) -> None:
        """Measure a pipeline."""
        self.note(self.measured(name, ["bash", "-c", f"set -e -o pipefail; {script}"], **more))

    def lvpack(self, name: str, *words: str, **more: Any) -> dict[str, Any]:
        """Measure a run of the agent; it mounts the share itself."""
        LOG.unlink(missing_ok=True)
        row = self.measured(name, ["python3", "-m", "lvpack_agent", "--cmdline", " ".join(words)], **more)
        [line] = [line for line in LOG.read_text().splitlines() if RESULT_MARK in line]
        report = parse_result(line)
        row |= {"sizes": to_json(report.sizes), "timings": to_json(report.timings), "compression": report.compression}
        self.note(row)
        return row

    def note(self, row: dict[str, Any]) -> None:
        with self._results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['name']:>24} {row['wall']:7.1f} s  {row['cpu']:7.1f} s  {row['stored']:>13,} B", flush=True)

    def _forget(self) -> None:
        """Drop from memory what was read of disks and share; programs stay, as they do in a live image."""
        run(["sync"])
        for disk in Path("/dev").glob("vd?"):
            run(["blockdev", "--flushbufs", disk])
        for path in SHARE.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _stored(self) -> int:
        return sum(path.stat().st_size for path in SHARE.rglob("*") if path.is_file())

    def backup(self, name: str, *words: str, **more: Any) -> dict[str, Any]:
        """Measure a backup by lvpack; its set replaces the one before it."""
        shutil.rmtree(SHARE / SET, ignore_errors=True)
        target = f"lvpack.target={self.job['share']}"
        return self.lvpack(name, "lvpack.action=backup", target, f"lvpack.name={SET}", *words, **more)

    def floor(self, volumes: list[Volume], level: int, name: str = "floor", **more: Any) -> None:
        """Measure the least that a backup can do: the used ranges, read once, through zstd."""
        ranges = [
            [volume.device, part.start, part.count]
            for volume in volumes
            for part in used(volume)
            if volume.content.is_ext
        ]
        Path("/run/ranges.json").write_text(json.dumps(ranges))
        out = SHARE / "floor.zst"
        out.unlink(missing_ok=True)
        self.shell(
            name, f"python3 {__file__} --ranges /run/ranges.json | zstd -{level} -T0 -q > {out}; sync {out}", **more
        )
        out.unlink()

    def peers(self, volumes: list[Volume], level: int) -> None:
        """Measure what others do per filesystem; swap is left out by all of them."""
        volumes = [v for v in volumes if v.content.is_ext]
        folder, packer = SHARE / "peer", f"zstd -{level} -T0 -q"

        def peer(name: str, script: str) -> None:
            folder.mkdir()
            self.shell(name, f"cd {folder}; {script}; sync *")
            shutil.rmtree(folder)

        peer(
            "partclone + zstd",
            "; ".join(
                f"partclone.{v.content.type} -c -q -L /dev/null -s {v.device} -o - | {packer} > {number}.zst"
                for number, v in enumerate(volumes)
            ),
        )
        peer("fsarchiver", f"fsarchiver savefs -j2 -Z{level} all.fsa {' '.join(v.device for v in volumes)}")
        with trees_of(volumes) as trees:
            peer(
                "tar + zstd",
                "; ".join(
                    f"tar -c --xattrs --acls --numeric-owner -C {tree} . | {packer} > {tree.name}.zst" for tree in trees
                ),
            )


def used(volume: Volume) -> tuple[Range, ...]:
    return complement(blockmap.free_in(volume.content), volume.content.size)


@contextmanager
def trees_of(volumes: list[Volume]) -> Iterator[list[Path]]:
    trees = [TREES / str(number) for number in range(len(volumes))]
    for volume, tree in zip(volumes, trees, strict=True):
        tree.mkdir(parents=True, exist_ok=True)
        run(["mount", "-o", "ro", volume.device, tree])
    try:
        yield trees
    finally:
        for tree in trees:
            run(["umount", tree])


def copy_ranges(path: str) -> None:
    """Copy ranges of devices to standard output without touching the bytes (splice(2))."""
    for device, start, count in json.loads(Path(path).read_text()):
        with Path(device).open("rb", buffering=0) as file:
            at, end = start, start + count
            while at < end:
                at += os.splice(file.fileno(), 1, min(MIB, end - at), offset_src=at)


def race(contest: Contest) -> None:
    """Run all contenders in turn, round by round, on /dev/vda, and restore to /dev/vdb.

    One run before that does not count: it reads the programs that all later runs find in memory.
    """
    job, level = contest.job, contest.job["level"]
    plain = f"lvpack.compress=zstd:{level}"
    source = f"lvpack.source={job['share']}"
    contest.backup("warming up", plain)
    for _ in contest.rounds():
        wipe("/dev/vdb")
        contest.backup("lvpack, auto, read back")
        contest.backup("lvpack, read back", plain)
        row = contest.backup("lvpack", plain, "lvpack.readback=no")
        with opened([("/dev/vda", None)], "bench") as source_disk:
            contest.floor(source_disk.volumes(), level)
            contest.peers(source_disk.volumes(), level)
        # As the others, which restore the image and no more.
        as_packed = ("lvpack.disk=/dev/vdb", "lvpack.overwrite=yes", "lvpack.grow=none")
        restore = ("lvpack.action=restore", *as_packed, f"{source}/{SET}")
        contest.lvpack("restore: lvpack, read again", *restore)
        contest.lvpack("restore: lvpack", *restore, "lvpack.readback=no")
        size = row["sizes"]["packed_disk"]
        image, old = SHARE / SET / "disk.img.zst", SHARE / "blog.img.gz"
        contest.shell("dd + gzip", f"dd if=/dev/vdb bs=1M count={size // MIB} status=none | gzip > {old}; sync {old}")
        contest.shell("restore: zstd + dd", f"zstd -dc -q {image} | dd of=/dev/vdb bs=4M iflag=fullblock conv=fsync")
        contest.shell("restore: gunzip + dd", f"gunzip -c {old} | dd of=/dev/vdb bs=4M iflag=fullblock conv=fsync")
        old.unlink()


def wipe(device: str) -> None:
    """Make a disk look empty, so that its VG is not the source's double."""
    run(["dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=4", "conv=fsync", "status=none"])
    known(device)


def known(device: str) -> None:
    """Let kernel and udev look again at what is on a disk."""
    run(["blockdev", "--rereadpt", device])
    run(["udevadm", "settle"])


def margins(contest: Contest) -> None:
    """Pack the same disk with other margins: what the shrink costs, and what it saves."""
    contest.lvpack("warming up", "lvpack.action=plan")
    for _ in contest.rounds():
        for margin in contest.job["margins"]:
            contest.backup(f"margin {margin}", f"lvpack.margin={margin}", "lvpack.readback=no", margin=margin)


def scale(contest: Contest) -> None:
    """Pack disks of several sizes with the same files on them; each is made first, by the blog post's tools."""
    disks = contest.job["disks"]
    for device, size in disks:
        name = f"scale{Path(device).name}"
        Path("/run/table").write_text("label: gpt\nstart=1MiB, type=lvm\n")
        run(["bash", "-c", f"sfdisk -q {device} < /run/table"])
        with Undo() as undo:
            _, _, parts = mapped(device, "new", undo)
            [part] = parts.values()
            run(["pvcreate", "-q", "--devices", part, part])
            run(["vgcreate", "-q", "--devices", part, name, part])
            run(["lvcreate", "-q", "--devices", part, "-Wn", "-Zn", "-l", "90%VG", "-n", "data", name])
            run(["mkfs.ext4", "-q", "-E", "nodiscard", f"/dev/mapper/{name}-data"])
            TREES.mkdir(exist_ok=True)
            run(["mount", "-o", "noinit_itable", f"/dev/mapper/{name}-data", TREES])
            run(["cp", "-r", "/host/files", TREES])
            run(["umount", TREES])
            run(["vgchange", "-q", "-an", "--devices", part, name])
        known(device)
        print(f"made {device} ({size})", flush=True)
    contest.lvpack("warming up", "lvpack.action=plan", f"lvpack.disk={disks[0][0]}")
    for _ in contest.rounds():
        for device, size in disks:
            contest.backup(
                f"lvpack {size}", f"lvpack.disk={device}", "lvpack.compress=zstd:3", "lvpack.readback=no", disk=size
            )
            with opened([(device, None)], "bench") as source_disk:
                contest.floor(source_disk.volumes(), 3, f"floor {size}", disk=size)


def main(job_path: str, results: str) -> None:
    job = json.loads(Path(job_path).read_text())
    network, session = Network(network_options([])), Session(action="", out=print)
    access = Access(
        options=ShareOptions(), secrets=Secrets("none", print, lambda _: None), patience=600, read_only=False
    )
    with mounted(parse_url(job["share"]), SHARE, network, session, access):
        contest = Contest(job, Path(results))
        {"race": race, "margins": margins, "scale": scale}[job["what"]](contest)


if __name__ == "__main__":
    if sys.argv[1] == "--ranges":
        copy_ranges(sys.argv[2])
    else:
        main(*sys.argv[1:])
