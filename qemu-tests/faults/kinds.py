"""Kinds of faults: what each does before a run, when it strikes, and to mend it."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from faults.bench import DISK, RESULT_SECONDS, Bench
from lab.runs import blocks
from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.image.files import MANIFEST, SUMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that fails. filters and words are nbdkit's, for the disk of the row; TRIGGER in them is a file's path.

    before runs before the job, strike at its moment, mend after the result. cuts: the run has no result. gone: the
    share cannot be written at the end, so that no reason stands there.
    """

    name: str
    filters: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    damage: Callable[[Path], None] | None = None
    before: Callable[[Bench], None] | None = None
    strike: Callable[[Bench], None] | None = None
    mend: Callable[[Bench], None] | None = None
    cuts: bool = False
    gone: bool = False


# ---- Disks


def _trigger(bench: Bench) -> None:
    bench.trigger.touch()


def _untrigger(bench: Bench) -> None:
    bench.trigger.unlink(missing_ok=True)


def _gone(bench: Bench) -> None:
    assert bench.nbd
    bench.nbd.end()


def disk_error(which: str, error: str = "EIO") -> Fault:
    """The disk fails each read or each write (which: pread or pwrite)."""
    words = (f"error-{which}={error}", f"error-{which}-rate=100%", f"error-{which}-file=TRIGGER")
    name = f"disk: {'read' if which == 'pread' else 'write'} error" + ("" if error == "EIO" else f" {error}")
    return Fault(name=name, filters=("error",), words=words, strike=_trigger, mend=_untrigger)


def disk_gone() -> Fault:
    return Fault(name="disk: gone", filters=("nofilter",), strike=_gone)


def disk_slow() -> Fault:
    return Fault(name="disk: slow", filters=("delay",), words=("rdelay=20ms", "wdelay=20ms"))


def _flip_on_target(bench: Bench) -> None:
    """Change the last byte of the target that is none of a hole: what was written is read again in its order."""
    *_, (at, data) = blocks(bench.samples.restored)
    _flip(bench.disk, at + len(data.rstrip(b"\0")) - 1)


def target_lies() -> Fault:
    return Fault(name="disk: a byte changes", strike=_flip_on_target)


# ---- Shares


def share_stalls(seconds: int = 25) -> Fault:
    return Fault(name="share: stalls and resumes", strike=lambda b: _interrupted(b, b.proxy.stall, seconds))


def share_drops(seconds: int = 25) -> Fault:
    return Fault(name="share: drops and resumes", strike=lambda b: _interrupted(b, b.proxy.drop, seconds))


def share_restarts() -> Fault:
    return Fault(name="share: its server is restarted", strike=lambda b: b.restart_server())


def share_gone() -> Fault:
    return Fault(name="share: gone", strike=lambda b: b.proxy.stall(), mend=lambda b: b.proxy.resume(), gone=True)


def _interrupted(bench: Bench, begin: Callable[[], None], seconds: float) -> None:
    begin()
    bench.console.expect("does not answer; the run waits for it", 90)
    bench.proxy.resume()


def share_stale() -> Fault:
    """The server comes back without what it had: its folder was made anew, and the file handles are stale."""

    def made_anew(bench: Bench) -> None:
        bench.proxy.drop()
        bench.servers.close()
        shutil.rmtree(bench.share)
        bench.share.mkdir()
        bench.restart_server()

    return Fault(name="share: stale", strike=made_anew, gone=True)


def second_writer() -> Fault:
    """A clone of the machine writes a set of the same name at the same time, and is refused; the first one goes on."""

    def strike(bench: Bench) -> None:
        with bench.clone() as clone:
            clone.start(bench.words)
            report = clone.console.result(RESULT_SECONDS)
        if report.status != "refused" or "'one'" not in report.message or not report.hint:
            raise Failed(f"cannot accept how the second writer ended: {report.status}: {report.message}")

    return Fault(name="share: a second writer of the name", strike=strike)


# ---- Tools

_STAND_IN = """#!/bin/sh
[ -e /run/faults/on ] || exec /run/faults/real/{tool} "$@"
{action}
"""
ACTIONS = {
    "crashes": "kill -SEGV $$",
    "talks nonsense": "echo '{\"a\": [ 17'; echo nonsense",
    "hangs": "exec sleep 1000000",
}


def tool(name: str, how: str) -> Fault:
    """A tool of the system crashes, hangs or talks nonsense."""
    script = _STAND_IN.format(tool=name, action=ACTIONS[how])

    def before(bench: Bench) -> None:
        bench.shell(
            f"mkdir -p /run/faults/real && at=$(readlink -f $(command -v {name})) && cp $at /run/faults/real/{name} && "
            f"cat > /run/faults/{name} <<'END'\n{script}END\n"
            f"chmod +x /run/faults/{name} && mount --bind /run/faults/{name} $at"
        )

    return Fault(name=f"{name} {how}", before=before, strike=lambda b: b.console.send("touch /run/faults/on"))


def tool_hangs(name: str) -> Fault:
    """A tool hangs. One that did so before this has a minute instead of ten; so it is taken that one did."""
    hanging = tool(name, "hangs")

    def before(bench: Bench) -> None:
        assert hanging.before
        hanging.before(bench)
        bench.shell(f"mkdir -p {places.RUN} && touch {places.HUNG}")

    return replace(hanging, before=before)


# ---- The machine


def _cut(bench: Bench) -> None:
    bench.console.freeze()
    bench.console.kill()


def power_cut() -> Fault:
    return Fault(name="power cut", strike=_cut, cuts=True)


def clock(word: str, when: str) -> Fault:
    return Fault(name=f"clock: {word}", strike=lambda b: b.console.send(f"date -s '{when}'"))


def memory() -> Fault:
    """All memory is taken away but 20 MiB: a run that has what it needs goes on with that."""
    ballast = "$(( $(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) - 20480 ))"
    strike = f"head -c {ballast}k /dev/zero > /run/ballast/file"

    def before(bench: Bench) -> None:
        bench.shell("mkdir -p /run/ballast && mount -t tmpfs -o size=100% ballast /run/ballast")

    return Fault(
        name="memory is taken away but for 20 MiB",
        before=before,
        strike=lambda b: b.console.send(strike),
    )


def device_renamed() -> Fault:
    """The source goes away and comes back under another name."""
    name = Path(DISK).name
    command = f"p=$(readlink -f /sys/block/{name}/device/..); echo 1 > $p/remove; sleep 1; echo 1 > /sys/bus/pci/rescan"
    return Fault(name="device is renamed", strike=lambda b: b.console.send(command))


# ---- Sets


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << random.Random(at).randrange(8)]))


def set_damage(part: str) -> Fault:
    """A bit is flipped in a part of the set one, or the set gz, or something is cut off."""

    def damage(share: Path) -> None:
        folder = share / ("gz" if part.startswith("gzip") else "one")
        image = next(folder.glob("disk.img*[tz]"))
        size = image.stat().st_size
        match part:
            case "frame" | "gzip":
                _flip(image, size // 3)
            case "hole frame":
                data = image.read_bytes()
                # zstd.hole(): content size 4 bytes, a window of one block, then one RLE block after another.
                at = data.index(b"\x28\xb5\x2f\xfd\x80\x38")
                _flip(image, at + 8)
            case "seek table":
                _flip(image, size - 9 - 8 * 3)
            case "truncated" | "gzip, truncated":
                os.truncate(image, size * 2 // 3)
            case "manifest":
                _flip(folder / MANIFEST, (folder / MANIFEST).stat().st_size // 2)
            case "SHA256SUMS":
                _flip(folder / SUMS, 3)
            case "block map":
                data = json.loads((folder / MANIFEST).read_text())
                data["block_map"][0]["count"] -= 4096
                (folder / MANIFEST).write_text(json.dumps(data))
            case "disk.img.bmap":
                _flip(folder / part, (folder / part).stat().st_size // 2)
            case "agent.log":
                _flip(folder / part, 100)
            case _:
                raise AssertionError(part)

    return Fault(name=f"set: {part}", damage=damage)


def terminated() -> Fault:
    return Fault(name="SIGTERM", strike=lambda b: b.console.send("pkill -TERM -f 'lvpack_agent --cmdline'"))
