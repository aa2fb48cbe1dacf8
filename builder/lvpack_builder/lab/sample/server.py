"""Sample servers: LVM disks, made in a virtual machine from a recipe and cached by it."""

import hashlib
import json
import shutil
import tempfile
import tomllib
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_agent.sizes import parse_size
from lvpack_builder.image import mirror
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.guest import make_server
from lvpack_builder.lab.qemu import SECTOR, Drive, create_disk, node
from lvpack_builder.paths import cache_dir, locked

FOLDER = Path(__file__).parent
MAKE_SECONDS = 1200.0


def recipe_of(name: str) -> dict[str, object]:
    """Return the recipe of that name."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


def root_tar(system: dict[str, object]) -> Path:
    """Return a tar of a Debian with the recipe's packages, made by mmdebstrap and cached by them."""
    packages = system["packages"]
    assert isinstance(packages, list)
    wanted = hashlib.sha256(json.dumps([system["release"], packages]).encode()).hexdigest()[:16]
    path = cache_dir() / f"debian-{wanted}.tar"
    with locked(path.stem):
        if not path.exists():
            partial = path.with_suffix(".partial.tar")
            command = ["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(packages)}"]
            command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
            run([*command, str(system["release"]), str(partial), mirror.read().main])
            partial.rename(path)
    return path


def make_sample(image: LiveImage, name: str = "blog") -> Path:
    """Return the pristine disk of a recipe that has one (raw, sparse); copy it before anything writes to it."""
    [disk] = make_disks(image, name)
    return disk


def make_disks(image: LiveImage, name: str) -> list[Path]:
    """Return the pristine disks of a recipe (raw, sparse); copy them before anything writes to them."""
    with locked(f"sample-{name}"):
        return _make_disks(image, name)


def drives_of(name: str, disks: list[Path]) -> list[Drive]:
    """Return disks of a recipe, or copies of them, as a machine has them."""
    sector = recipe_of(name).get("sector", SECTOR)
    assert isinstance(sector, int)
    return [Drive(path=disk, sector_size=sector) for disk in disks]


def _make_disks(image: LiveImage, name: str) -> list[Path]:
    recipe = recipe_of(name)
    script = Path(make_server.__file__)
    key = hashlib.sha256(json.dumps(recipe).encode() + script.read_bytes()).hexdigest()[:16]
    count = recipe.get("disks", 1)
    assert isinstance(count, int)
    disks = [cache_dir() / f"sample-{name}-{key}{f'-{number}' if number else ''}.img" for number in range(count)]
    if disks[-1].exists():
        return disks
    system = recipe.get("system")
    tar = root_tar(system) if isinstance(system, dict) else None
    partials = [disk.with_suffix(".partial") for disk in disks]
    for partial in partials:
        partial.unlink(missing_ok=True)
        create_disk(partial, parse_size(str(recipe["size"])))
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        folder = Path(scratch)
        shutil.copy(script, folder / "make_server.py")
        (folder / "recipe.json").write_text(json.dumps(recipe))
        devices = ",".join(node(number) for number in range(count))
        command = f"python3 /host/make_server.py /host/recipe.json {devices}"
        if tar:
            (folder / "root.tar").hardlink_to(tar)
            command += " /host/root.tar"
        log = cache_dir() / f"sample-{name}.log"
        answer = helper.in_live_image(image, drives_of(name, partials), folder, command, log, MAKE_SECONDS)
    if answer.status:
        raise Failed(f"cannot make the sample server: {answer.output.strip()[-400:]}", hint=f"its log is {log}")
    for partial, disk in zip(partials, disks, strict=True):
        partial.rename(disk)
    return disks
