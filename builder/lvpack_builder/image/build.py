"""`lvpack build`: base, agent layer, initrd, ISO, checksums; all or nothing."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.network.options import network_options
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.settings import read
from lvpack_agent.sizes import GIB, human
from lvpack_builder import reproducible
from lvpack_builder.boot import iso, netboot
from lvpack_builder.boot.loaders import PACKAGES
from lvpack_builder.boot.netboot import Host
from lvpack_builder.image import initrd, packages, rootfs, sbom
from lvpack_builder.image.base import Base, base
from lvpack_builder.image.outputs import MANIFEST, check_replaceable, replacing, write_sums
from lvpack_builder.image.recipe import Recipe
from lvpack_builder.image.secrets import COMMON, write_archive
from lvpack_builder.paths import cache_dir, output_dir

# Program → Debian package that has it.
TOOLS = {
    "cpio": "cpio",
    "debootstrap": "debootstrap",
    "depmod": "kmod",
    "grub-mkimage": "grub-common",
    "mksquashfs": "squashfs-tools",
    "lsattr": "e2fsprogs",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "sudo": "sudo",
    "unshare": "util-linux",
    "xorriso": "xorriso",
    "zstd": "zstd",
}
# In the cache for a new base; where the image goes, for it and for what it is made of.
SPACE = 4 * GIB
OUTPUT_SPACE = 1 * GIB


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


def built_image(folder: Path | None = None) -> LiveImage:
    """Return the live image that was built. Raises Refused if there is none."""
    image = LiveImage(folder=folder or output_dir())
    if not image.kernel.exists() or not image.initrd.exists():
        raise Refused(f"cannot run the live image: there is none in '{image.folder}'", hint="build it: lvpack build")
    return image


def check_host(out: Path) -> None:
    """Raise Refused, with the way out, if this machine cannot build: root, tools, boot loaders, namespaces, space."""
    if os.geteuid() != 0:
        raise Refused("cannot build the live image: it needs root", hint="run it with sudo")
    missing = {tool: package for tool, package in TOOLS.items() if not shutil.which(tool)}
    missing |= {str(file): package for file, package in PACKAGES.items() if not file.exists()}
    if missing:
        raise Refused(
            f"cannot build the live image: this machine lacks {', '.join(missing)}",
            hint=f"apt-get install {' '.join(sorted(set(missing.values())))}",
        )
    try:
        run(["unshare", "--mount", "--pid", "--fork", "true"])
    except ToolFailed as failed:
        raise Refused(
            f"cannot build the live image: root may not mount here: {failed.completed.stderr.strip()}",
            hint="in a container, give it the capability CAP_SYS_ADMIN, such as by --privileged",
        ) from None
    for folder, needed in ((cache_dir(), SPACE), (_existing(out), OUTPUT_SPACE)):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise Refused(
                f"cannot build the live image: {human(free)} free at '{folder}', it needs {human(needed)}",
                hint="make room, or name a bigger disk: LVPACK_CACHE for the cache, -o for the image",
            )


def _existing(path: Path) -> Path:
    """Return the folder that a path will be made in, or the nearest above that there is."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def build(
    out: Path,
    *,
    arguments: Sequence[str] = (),
    hosts: Sequence[Host] = (),
    recipe: Recipe | None = None,
    secrets: Mapping[str, bytes] | None = None,
    secrets_in_iso: bool = False,
) -> LiveImage:
    """Build the live image into a folder; arguments are for the kernel, the agent's among them are checked now.

    hosts are machines with a menu of their own in the netboot kit. secrets are those of all machines, by their names,
    in an archive of the netboot kit; secrets_in_iso: in the ISO as well.

    Raises Refused before it starts if this machine or an argument is not fit, Failed if a tool fails.
    """
    recipe = recipe or Recipe()
    check_host(out)
    for words in (arguments, *(host.arguments for host in hosts)):
        read.check_words(words)
        network_options(words)
        netboot.check_words(words)
    recipe.check()
    check_replaceable(out)
    try:
        made = base(recipe)
        with reproducible.dated(made.epoch), replacing(out) as new:
            _write(LiveImage(folder=new), made, recipe, arguments, hosts, secrets or {}, secrets_in_iso=secrets_in_iso)
            check_replaceable(out)  # minutes may have passed
    except OSError as error:
        raise Failed(
            f"cannot build the live image: {error.filename or 'a file'}: {error.strerror}",
            hint=f"see that {out.parent} and {cache_dir()} can be written and have room",
        ) from error
    return LiveImage(folder=out)


def _write(
    image: LiveImage,
    made: Base,
    recipe: Recipe,
    arguments: Sequence[str],
    hosts: Sequence[Host],
    secrets: Mapping[str, bytes],
    *,
    secrets_in_iso: bool,
) -> None:
    image.kit.mkdir()
    shutil.copy(made.kernel, image.kernel)
    with tempfile.TemporaryDirectory(dir=image.folder.parent) as scratch:
        layer = Path(scratch) / "10-agent.squashfs"
        rootfs.agent_layer(made.tree, layer)
        initrd.assemble(made.early, [made.layer, layer], image.initrd)
    common = image.kit / COMMON if secrets else None
    if common:
        write_archive(secrets, common)
    write_isos(image, arguments, common, secrets_in_iso=secrets_in_iso)
    netboot.write_kit(image.kit, arguments, hosts, common.name if common else "")
    for host in hosts:
        if host.secrets:
            write_archive({**secrets, **host.secrets}, image.kit / netboot.own_secrets(host))
    _write_manifest(image, made, recipe, arguments)
    write_sums(image.folder)


def write_isos(image: LiveImage, arguments: Sequence[str], secrets: Path | None, *, secrets_in_iso: bool) -> None:
    """Write the ISO and that of the netboot kit, one file unless an initrd with secrets is in the former.

    A boot server gives the latter to everybody who asks, and firmware that boots from it shows a menu without them.
    """
    served = image.kit / image.iso.name
    iso.write_iso(image.kernel, image.initrd, arguments, served)
    if secrets and secrets_in_iso:
        iso.write_iso(image.kernel, image.initrd, arguments, image.iso, secrets)
    else:
        os.link(served, image.iso)


def _write_manifest(image: LiveImage, made: Base, recipe: Recipe, arguments: Sequence[str]) -> None:
    inside = packages.of_tree(made.tree)
    # Their files, or what they make of ours, are in the image as well.
    here = packages.of_this_machine([*TOOLS.values(), *PACKAGES.values()])
    loaders = [p for p in here if p.name in PACKAGES.values()]
    (image.folder / sbom.NAME).write_text(sbom.render([*inside, *loaders], made.epoch))
    facts = {
        "lvpack": VERSION,
        "release": recipe.release,
        "kernel": made.version,
        "source_date_epoch": made.epoch,
        "firmware": recipe.firmware,
        "elements": list(recipe.elements),
        "arguments": list(arguments),
        "sizes": {p.name: p.stat().st_size for p in (image.kernel, image.initrd, image.iso)},
        "sbom": sbom.NAME,
        "packages": {p.name: p.version for p in inside},
        "build_machine": {p.name: p.version for p in here},
    }
    (image.folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
