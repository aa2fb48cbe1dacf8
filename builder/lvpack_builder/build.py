"""`lvpack build`: base, agent layer, initrd, ISO, checksums; all or nothing."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent import VERSION, options
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.sizes import GIB, human
from lvpack_builder import initrd, iso, netboot, rootfs
from lvpack_builder.base import DEFAULT_RELEASE, Base, base
from lvpack_builder.loaders import PACKAGES
from lvpack_builder.netboot import Host
from lvpack_builder.outputs import check_replaceable, replacing
from lvpack_builder.paths import cache_dir

# Program → Debian package that has it.
TOOLS = {
    "cpio": "cpio",
    "debootstrap": "debootstrap",
    "depmod": "kmod",
    "grub-mkimage": "grub-common",
    "mksquashfs": "squashfs-tools",
    "mformat": "mtools",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "sudo": "sudo",
    "unshare": "util-linux",
    "xorriso": "xorriso",
    "zstd": "zstd",
}
SPACE = 4 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveImage:
    """A built live image."""

    folder: Path

    @property
    def kit(self) -> Path:
        return self.folder / "pxe"

    @property
    def kernel(self) -> Path:
        return self.kit / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.kit / "initrd.img"

    @property
    def iso(self) -> Path:
        return self.folder / "lvpack.iso"


def check_host() -> None:
    """Raise Refused, with the way out, if this machine cannot build: root, tools, boot loaders, space."""
    if os.geteuid() != 0:
        raise Refused("cannot build the live image: it needs root", hint="run it with sudo")
    missing = {package for tool, package in TOOLS.items() if not shutil.which(tool)}
    missing |= {package for file, package in PACKAGES.items() if not file.exists()}
    if missing:
        names = " ".join(sorted(missing))
        raise Refused(f"cannot build the live image: {names} is missing", hint=f"apt-get install {names}")
    free = shutil.disk_usage(cache_dir()).free
    if free < SPACE:
        raise Refused(
            f"cannot build the live image: {human(free)} free at {cache_dir()}, it needs {human(SPACE)}",
            hint="make room, or set LVPACK_CACHE to a bigger disk",
        )


def build(
    out: Path, *, arguments: Sequence[str] = (), hosts: Sequence[Host] = (), release: str = DEFAULT_RELEASE
) -> LiveImage:
    """Build the live image into a folder; arguments are for the kernel, lvpack.* among them is checked now.

    hosts are machines with a menu of their own in the netboot kit.

    Raises Refused before it starts if this machine or an argument is not fit, Failed if a tool fails.
    """
    check_host()
    for words in (arguments, *(host.arguments for host in hosts)):
        options.check_words(words)
    check_replaceable(out)
    try:
        made = base(release)
        with replacing(out) as new:
            _write(LiveImage(folder=new), made, release, arguments, hosts)
    except OSError as error:
        raise Failed(
            f"cannot build the live image: {error.filename or 'a file'}: {error.strerror}",
            hint=f"see that {out.parent} and {cache_dir()} can be written and have room",
        ) from error
    return LiveImage(folder=out)


def _write(image: LiveImage, made: Base, release: str, arguments: Sequence[str], hosts: Sequence[Host]) -> None:
    image.kit.mkdir()
    shutil.copy(made.kernel, image.kernel)
    with tempfile.TemporaryDirectory(dir=image.folder.parent) as scratch:
        layer = Path(scratch) / "10-agent.squashfs"
        rootfs.agent_layer(made.tree, layer)
        initrd.assemble(made.early, [made.layer, layer], image.initrd)
    iso.write_iso(image.kernel, image.initrd, arguments, image.iso)
    netboot.write_kit(image.kit, arguments, hosts)
    _write_manifest(image, made.tree, made.version, release, arguments)
    _write_sums(image.folder)


def _write_manifest(image: LiveImage, tree: Path, version: str, release: str, arguments: Sequence[str]) -> None:
    packages = (tree / "usr/lib/lvpack/packages").read_text().splitlines()
    facts = {
        "lvpack": VERSION,
        "release": release,
        "kernel": version,
        "arguments": list(arguments),
        "sizes": {p.name: p.stat().st_size for p in (image.kernel, image.initrd, image.iso)},
        "packages": dict(line.split(" ", 1) for line in packages),
    }
    (image.folder / "manifest.json").write_text(json.dumps(facts, indent=1) + "\n")


def _write_sums(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}\n" for p in files]
    (folder / "SHA256SUMS").write_text("".join(lines))
