"""How lvpack compares with what others do, on one disk in one guest; and how it scales.

In qemu-tests/: ../.venv/bin/python -m tools.benchmark [--rounds 3] [--only race|margins|scale]

Writes docs/benchmark.md and docs/benchmark.svg from results that are kept in the cache. Nothing else should run on the
host meanwhile.
"""

import json
import os
import platform
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, MIB
from lvpack_builder.image.build import LiveImage, build
from lvpack_builder.image.recipe import Recipe
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Answer
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import limited_folder, nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, node
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.paths import cache_dir
from tools.benchreport import write

HERE = Path(__file__).parents[1]
GUEST = HERE / "guest/contend.py"
LEVEL = 3
MARGINS = ("0%", "5%", "25%")
SIZES = {"16 GiB": 16 * GIB, "128 GiB": 128 * GIB, "1 TiB": 1024 * GIB}
MACHINE = {"memory": 4096, "cpus": 2}
DEADLINE = 7200.0
BOOTS = 3


def files(folder: Path) -> None:
    """Make 1 GiB of files, half of it text, half of it noise, the same each time."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(2, 6)).hex() for _ in range(2000)]
    folder.mkdir()
    for number in range(256):
        text = " ".join(chance.choices(words, k=210_000)).encode()[: 2 * MIB]
        (folder / f"{number}.txt").write_bytes(text)
        (folder / f"{number}.bin").write_bytes(chance.randbytes(4 * MIB - len(text)))


def disks_of(what: str, image: LiveImage, scratch: Path) -> list[Drive]:
    """Return the disks of a part of the benchmark."""
    if what == "scale":
        paths = [scratch / f"{number}.qcow2" for number in range(len(SIZES))]
        for path, size in zip(paths, SIZES.values(), strict=True):
            run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)])
        return [Drive(path=path, format="qcow2") for path in paths]
    source = Drive(path=sparse_copy(make_sample(image), scratch / "source.img"), temporary=True)
    return [source, Drive(path=create_disk(scratch / "target.img", 2 * GIB))] if what == "race" else [source]


def job(what: str, rounds: int, share: str) -> dict[str, Any]:
    found: dict[str, Any] = {"what": what, "rounds": rounds, "share": share, "level": LEVEL, "margins": MARGINS}
    return found | {"disks": [(node(number), size) for number, size in enumerate(SIZES)]}


def _in_guest(what: str, image: LiveImage, rounds: int, host: Path) -> Answer:
    # Share and disks in memory: the host's own disk, and what is in its cache, play no part.
    with limited_folder(host.with_name("memory"), 10 * GIB) as memory:
        share, disks = memory / "share", memory / "disks"
        share.mkdir()
        disks.mkdir()
        with nfs_share(share) as served:
            (host / "job.json").write_text(json.dumps(job(what, rounds, served.url)))
            command = f"PYTHONDONTWRITEBYTECODE=1 python3 /host/{GUEST.name} /host/job.json /host/results.jsonl"
            log = cache_dir() / f"bench-{what}.log"
            drives = disks_of(what, image, disks)
            return helper.in_live_image(image, drives, host, command, log, DEADLINE, network=True, **MACHINE)


def measure(what: str, image: LiveImage, rounds: int, results: Path) -> None:
    """Run a part of the benchmark in a guest; its results replace those that there were."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder:
        host = Path(folder) / "host"
        host.mkdir()
        shutil.copy(GUEST, host)
        if what == "scale":
            files(host / "files")
        found = host / "results.jsonl"
        for attempt in range(BOOTS):
            try:
                answer = _in_guest(what, image, rounds, host)
                break
            except Failed:  # emulated kernels with two processors panic now and then when they boot
                if found.exists() or attempt == BOOTS - 1:
                    raise
        click.echo(answer.output)
        if answer.status:
            raise click.ClickException(f"the guest's script ended with {answer.status}")
        rows = [json.loads(line) for line in found.read_text().splitlines()]
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "accelerator": accelerator(image),
        "host": platform.processor() or "amd64",
    }
    results.write_text(json.dumps({"about": about | MACHINE | {"rounds": rounds}, "rows": rows}, indent=1))


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", "parts", multiple=True, type=click.Choice(["race", "margins", "scale"]), help="Not all of it.")
def main(rounds: int, parts: tuple[str, ...]) -> None:
    os.environ["ELEMENTS_PATH"] = f"{HERE}/elements"
    image = build(cache_dir() / "bench-image", recipe=Recipe(elements=("lvpack-bench",)))
    results = {what: cache_dir() / f"bench-{what}.json" for what in ("race", "margins", "scale")}
    for what in parts or results:
        measure(what, image, rounds, results[what])
    if all(path.exists() for path in results.values()):
        write({what: json.loads(path.read_text()) for what, path in results.items()}, HERE.parent / "docs")


if __name__ == "__main__":
    main()
