"""What a row is played on: a guest at its shell, its disk, and a share that can be made to fail."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lab import results
from lab.nbd import Served, served
from lab.runs import Lab, fingerprint
from lvpack_agent.errors import Failed
from lvpack_agent.image import check
from lvpack_agent.processes import run
from lvpack_agent.restore import mark
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, PSEUDO, nfs_share
from lvpack_builder.lab.proxy import Proxy
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.paths import cache_dir, locked

SAMPLE = "faults"
# The sets that restores and checks start from; the name of the set that backups make is the first's.
SETS = {"one": "zstd", "gz": "gzip"}
DISK = "/dev/vda"
RESULT_SECONDS = 900.0
OLD = b"what the target held before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What all rows start from: the source disk and its fingerprint, a folder with the sets, what they restore to."""

    source: Path
    untouched: str
    sets: Path
    restored: Path
    packed: str

    @property
    def size(self) -> int:
        """The bytes of a disk that the sets just fit."""
        return self.restored.stat().st_size


def samples(image: LiveImage) -> Samples:
    """Return the samples for an image, made the first time and kept in the cache."""
    source = make_sample(image, SAMPLE)
    folder = cache_dir() / f"faults-{results.state(results.ROOT)}"
    with locked("faults"):
        if not folder.exists():
            # The newest of others may be in use by a run that began with other files.
            for old in sorted(cache_dir().glob("faults-*/share"), key=_changed)[:-1]:
                shutil.rmtree(old.parent)
            _make(image, source, folder)
    restored = folder / "restored.img"
    return Samples(
        source=source,
        untouched=fingerprint(source),
        sets=folder / "share",
        restored=restored,
        packed=fingerprint(restored),
    )


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _make(image: LiveImage, source: Path, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    share = partial / "share"
    share.mkdir(parents=True)
    lab = Lab(image=image, folder=partial, share=share, saved=True)
    for name, method in SETS.items():
        words = ("lvpack.action=backup", f"lvpack.name={name}", f"lvpack.compress={method}")
        report = lab.run([Drive(path=source)], *words)
        if report.status != "ok":
            raise Failed(f"cannot make the sets for the rig of faults: {report.message}", hint=report.hint)
    manifest = check.read_manifest(share / "one")
    restored = create_disk(partial / "restored.img", manifest.images[0].checksums.raw_size)
    run(["zstd", "--decompress", "--quiet", "--force", "--sparse", share / "one/disk.img.zst", "-o", restored])
    partial.rename(folder)


@dataclass(kw_only=True)
class Bench:
    """A guest for one row. trigger: while this file exists, a disk with nbdkit's error filter fails."""

    image: LiveImage
    folder: Path
    share: Path
    disk: Path
    samples: Samples
    console: Console
    proxy: Proxy
    servers: ExitStack
    trigger: Path
    nbd: Served | None
    words: Sequence[str] = ()

    def start(self, words: Sequence[str]) -> None:
        """Start a run in the guest; SHARE in its words is the share's URL. Its shell takes commands meanwhile."""
        self.words = words
        line = " ".join(words).replace("SHARE", f"nfs://{HOST_FROM_GUEST}:{self.proxy.port}{PSEUDO}")
        self.console.send(f"python3 -m lvpack_agent --cmdline {shlex.quote(line)} > /dev/null 2>&1 &")

    def shell(self, command: str) -> str:
        """Run a command before or after the run; return what it says. Raises Failed if it fails."""
        answer = self.console.shell(command, 120)
        if answer.status:
            raise Failed(f"cannot prepare a fault by '{command}': {answer.output.strip()[-300:]}")
        return answer.output

    def restart_server(self) -> None:
        """Serve the share by another server, which knows no client."""
        self.servers.close()
        self.proxy.resume(self.servers.enter_context(nfs_share(self.share)).port)

    @contextmanager
    def clone(self) -> Iterator["Bench"]:
        """Yield another guest, with a copy of the source and the same share."""
        folder = self.folder / "clone"
        folder.mkdir()
        disk = source_copy(self.samples, folder)
        with _guest(self.image, Drive(path=disk), folder) as console:
            yield replace(self, folder=folder, disk=disk, console=console, nbd=None)


@contextmanager
def _guest(image: LiveImage, drive: Drive, folder: Path) -> Iterator[Console]:
    machine = live(image, [helper.SHELL], drives=(drive,))
    with helper.at_shell(machine, accelerator(image), folder / "console.log") as console:
        yield console


@contextmanager
def bench(
    image: LiveImage,
    made: Samples,
    folder: Path,
    disk: Path,
    share: Path,
    *,
    filters: Sequence[str],
    words: Sequence[str],
) -> Iterator[Bench]:
    """Yield a guest with a disk, served by nbdkit if there are filters, and a share behind a proxy."""
    trigger = folder / "trigger"
    with ExitStack() as undo:
        nbd = (
            undo.enter_context(served(disk, filters, [w.replace("TRIGGER", str(trigger)) for w in words]))
            if filters
            else None
        )
        servers = undo.enter_context(ExitStack())
        port = servers.enter_context(nfs_share(share)).port
        proxy = undo.enter_context(Proxy(port))
        console = undo.enter_context(_guest(image, nbd.drive if nbd else Drive(path=disk), folder))
        yield Bench(
            image=image,
            folder=folder,
            share=share,
            disk=disk,
            samples=made,
            console=console,
            proxy=proxy,
            servers=servers,
            trigger=trigger,
            nbd=nbd,
        )


def copied_sets(made: Samples, share: Path) -> None:
    """Copy the sets of the samples to a share."""
    shutil.copytree(made.sets, share, dirs_exist_ok=True)


def target_disk(folder: Path, size: int) -> Path:
    """Return a new disk of size bytes in a folder, on which something was."""
    disk = create_disk(folder / "target.img", size)
    with disk.open("r+b") as file:
        file.write(OLD)
    return disk


def source_copy(made: Samples, folder: Path) -> Path:
    """Return a copy of the source in a folder."""
    return sparse_copy(made.source, folder / "source.img")


def head_is_gone(disk: Path) -> bool:
    """Tell whether nothing of a partition table is at a disk's start, so that no machine boots it."""
    with disk.open("rb") as file:
        return mark.stands_alone(file.read(1 << 20))
