"""Defects seeded on purpose: each goes into a copy of this checkout, where a test of the core must fail then.

In qemu-tests/: ../.venv/bin/python -m tools.defects [NAME …] [--list] [--control]

A defect is a change of text in the agent; the file is whichever has it. The copies share the cache of this checkout.
"""

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from lvpack_agent.errors import Failed, LvpackError
from lvpack_agent.processes import Completed, run
from lvpack_builder.paths import cache_dir

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "runtime/lvpack_agent"
# What pytest ends with: all passed, some failed.
PASSED, FAILED = 0, 1
TEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """old becomes new, in the only file of the agent that has old; test, in qemu-tests/tests, must fail then."""

    name: str
    old: str
    new: str
    test: str


DEFECTS = (
    Defect(
        name="wrong extent in the map",
        # All beyond the first 512 MiB comes from one extent of 4 MiB further on.
        old="offset=stretch.offset, size=stretch.size)",
        new="offset=stretch.offset + (4 << 20) * (stretch.offset >> 29 > 0), size=stretch.size)",
        test="test_live_image.py",
    ),
    Defect(
        name="lost flush",
        old="    os.sync()\n    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)\n",
        new="    return\n    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)\n",
        test="test_inplace.py::test_power_cuts_at_each_kind_of_moment",
    ),
    Defect(
        name="swap UUID",
        old='    arguments += ["--uuid", uuid] if uuid else []\n',
        new="",
        test="test_layouts.py",
    ),
    Defect(
        name="skipped fsck",
        old="    ok = (0, CORRECTED, UNCORRECTED, UNCORRECTED | CORRECTED)\n    with tempfile",
        new="    return Repaired()\n    ok = (0, CORRECTED, UNCORRECTED, UNCORRECTED | CORRECTED)\n    with tempfile",
        test="test_inplace.py::test_damaged_filesystem_is_not_repaired_on_the_only_copy",
    ),
    Defect(
        name="block left out of the map",
        old="return joined(Range(start=r.start * block, count=r.count * block) for r in content.free)",
        new="return joined(Range(start=r.start * block, count=(r.count + 1) * block) for r in content.free)",
        test="test_layouts.py",
    ),
    Defect(
        name="missing refusal",
        old="if kind in SUSPEND_TYPES:\n            raise Refused(",
        new="if kind in ():\n            raise Refused(",
        test="test_bad_input.py::test_hibernated_system",
    ),
    Defect(
        name="partition off by a sector",
        old="start={p.start // sector}, size=",
        new="start={p.start // sector + 1}, size=",
        test="test_live_image.py",
    ),
    Defect(
        name="wrong seek-table entry",
        old="sizes.extend((len(data), count))",
        new="sizes.extend((len(data) + (len(sizes) == 2), count))",
        # The live image's own test packs by gzip, which has no such table.
        test="test_layouts.py::test_further_disks_come_too",
    ),
    Defect(
        name="EFI entry",
        old='order = (entry.number, *(n for n in parse_numbers(variable("BootOrder")) if n != entry.number))',
        new='order = (*(n for n in parse_numbers(variable("BootOrder")) if n != entry.number), entry.number)',
        test="test_uefi.py",
    ),
    Defect(
        name="source write",
        # One byte of a disk, before the kernel is told to refuse writes to it.
        old='            run(["blockdev", "--setro", device.path])\n',
        new="            if device.type == 'disk':\n                with open(device.path, 'r+b') as file:\n"
        "                    file.write(b'x')\n"
        '            run(["blockdev", "--setro", device.path])\n',
        test="test_live_image.py",
    ),
)


def seed(root: Path, defect: Defect) -> Path:
    """Put a defect into a checkout; return the file that was changed. Raises Failed if its text is not there once."""
    found = [path for path in sorted((root / SOURCES).rglob("*.py")) if defect.old in path.read_text()]
    if len(found) != 1 or found[0].read_text().count(defect.old) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in found) or "no file"
        raise Failed(
            f"cannot seed defect '{defect.name}': its text must stand once in the agent, and is in {names}",
            hint="the code has changed: change the table of defects with it",
        )
    [path] = found
    path.write_text(path.read_text().replace(defect.old, defect.new))
    return path


def copied(folder: Path) -> Path:
    """Make a copy of this checkout as it is now, changes and new files included, and return it."""
    root, copy = ROOT, folder / "checkout"
    run(["git", "clone", "--quiet", "--shared", root, copy])
    listed = run(["git", "ls-files", "--modified", "--deleted", "--others", "--exclude-standard", "-z"], cwd=root)
    for name in set(listed.stdout.split("\0")[:-1]):
        (copy / name).unlink(missing_ok=True)
        if (root / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)
    return copy


def tested(root: Path, test: str, folder: Path) -> Completed:
    """Run a test of the core with the code of a checkout."""
    paths = os.pathsep.join(str(root / name) for name in ("builder", "runtime", "qemu-tests"))
    command = [sys.executable, "-m", "pytest", f"qemu-tests/tests/{test}", "-m", "not full", "-x", "-q", "--tb=short"]
    command += ["-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
    env = {"PYTHONPATH": paths, "LVPACK_CACHE": str(cache_dir())}
    return run(command, cwd=root, ok=(PASSED, FAILED), env=env, timeout=TEST_SECONDS)


def why(output: str) -> str:
    """Return the first line in which pytest says why a test failed."""
    lines = [line.removeprefix("E").strip() for line in output.splitlines() if line.startswith("E ")]
    return lines[0] if lines else output.strip().splitlines()[-1]


def tried(defect: Defect, *, seeded: bool) -> tuple[bool, str]:
    """Run a defect's test with the defect, or without; return whether it ended as it must, and what it said."""
    with tempfile.TemporaryDirectory(prefix="defect-", dir=cache_dir()) as scratch:
        root = copied(Path(scratch))
        if seeded:
            seed(root, defect)
        answer = tested(root, defect.test, Path(scratch))
        (cache_dir() / f"defect-{defect.name.replace(' ', '-')}.log").write_text(answer.stdout)
        caught = answer.status == FAILED
        return caught == seeded, why(answer.stdout) if caught else "passed"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Say what there is, and run nothing.")
@click.option("--control", is_flag=True, help="Seed nothing: each test must pass.")
def main(names: tuple[str, ...], listed: bool, control: bool) -> None:
    """Seed defects, one at a time, and see that the core's tests catch them; all of them, or those of these NAMES."""
    wanted = [defect for defect in DEFECTS if not names or defect.name in names]
    if unknown := set(names) - {defect.name for defect in DEFECTS}:
        raise click.BadParameter(f"there is no defect of the name {', '.join(sorted(unknown))}")
    missed = 0
    for defect in wanted:
        if listed:
            click.echo(f"{defect.name:28} {defect.test}")
            continue
        begun = time.monotonic()
        try:
            right, said = tried(defect, seeded=not control)
        except LvpackError as error:
            click.echo(f"{defect.name}: {error.message}\n  {error.hint}", err=True)
            missed += 1
            continue
        missed += not right
        verdict = {(True, False): "caught", (False, False): "NOT CAUGHT", (True, True): "passes"}.get((right, control))
        seconds = time.monotonic() - begun
        click.echo(f"{defect.name:28} {verdict or 'FAILS'}  {seconds:4.0f} s  {defect.test}\n    {said[:200]}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
