"""The initrd: a small compressed archive that mounts layers, followed by the layers themselves.

The kernel unpacks concatenated cpio archives one after another, compressed or not
(Documentation/driver-api/early-userspace/buffer-format.rst).

No unit test: a kernel says whether it starts, in every end-to-end test; its bytes are in test_build.py there.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lvpack_agent.processes import run
from lvpack_builder.image.modules import dependencies, loading_order
from lvpack_builder.reproducible import stamp

STAGE1 = Path(__file__).parent / "stage1.sh"
# Stage 1 needs these to show the layers; all other modules come from the layers.
MODULES = ("loop", "squashfs", "overlay")


def write_early(tree: Path, version: str, out: Path) -> None:
    """Write stage 1: static busybox, the modules above and /init."""
    modules = tree / "usr/lib/modules" / version
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("bin", "proc", "sys", "dev", "modules", "layers", "lower", "cow", "new"):
            (root / name).mkdir()
        shutil.copy(tree / "usr/bin/busybox", root / "bin/busybox")
        depends = dependencies((modules / "modules.dep").read_text())
        for number, name in enumerate(loading_order(depends, MODULES)):
            shutil.copy(modules / name, root / f"modules/{number:02}-{Path(name).name}")
        init = root / "init"
        shutil.copy(STAGE1, init)
        init.chmod(0o755)
        archive = root.with_name(root.name + ".cpio")
        try:
            write_cpio(root, archive)
            run(["zstd", "-19", "--force", "--quiet", archive, "-o", out])
        finally:
            archive.unlink(missing_ok=True)


def write_cpio(root: Path, out: Path) -> None:
    """Pack a folder into a cpio archive, as root:root; all dates become SOURCE_DATE_EPOCH."""
    stamp(root)
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*"))
    command: list[str | Path] = [
        "cpio",
        "--create",
        "--format=newc",
        "--quiet",
        "--owner=0:0",
        "--reproducible",
        "-F",
        out,
    ]
    run(command, input="\n".join(names) + "\n", cwd=root)


def assemble(early: Path, layers: Sequence[Path], out: Path) -> None:
    """Write the initrd: the early part, padded to 4 bytes, then an uncompressed archive of layers/."""
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        root = Path(folder) / "root"
        (root / "layers").mkdir(parents=True)
        for layer in layers:
            shutil.copy(layer, root / "layers" / layer.name)
        archive = Path(folder) / "layers.cpio"
        write_cpio(root, archive)
        with out.open("wb") as file:
            file.write(early.read_bytes())
            file.write(bytes(-file.tell() % 4))
            with archive.open("rb") as layers_file:
                shutil.copyfileobj(layers_file, file)
