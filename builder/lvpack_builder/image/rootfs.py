"""Root filesystem layers: squashfs files that stage 1 stacks, the later name on top.

No unit test: it is mksquashfs and a chroot, in qemu-tests/tests/test_build.py and test_image_content.py.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lvpack_agent
from lvpack_agent.processes import run
from lvpack_builder.reproducible import stamp

AGENT_PATH = "usr/lib/python3/dist-packages/lvpack_agent"


# docs/image.md says what others were measured.
SMALL = ("xz",)
QUICK = ("zstd", "-Xcompression-level", "3")


def squash(tree: Path, out: Path, compression: Sequence[str]) -> None:
    """Pack a tree into a squashfs file; compression is one of those above, all dates become SOURCE_DATE_EPOCH."""
    stamp(tree)
    out.unlink(missing_ok=True)
    command: list[str | Path] = ["mksquashfs", tree, out, "-noappend", "-no-progress", "-quiet", "-no-exports"]
    command += ["-b", "256K", "-comp", *compression]
    # What stands in these is mounted over, or made at boot.
    command += ["-wildcards", "-e", "proc/*", "sys/*", "dev/*", "run/*", "tmp/*"]
    run(command)


def agent_layer(tree: Path, out: Path) -> None:
    """Pack the agent, byte-compiled by the Python of the base tree, so that its imports cost little at boot."""
    source = Path(lvpack_agent.__file__).parent
    with tempfile.TemporaryDirectory(prefix="agent-", dir=tree / "tmp") as scratch:
        inside = Path("/tmp") / Path(scratch).name  # as the chroot sees it
        package = Path(scratch) / AGENT_PATH
        shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
        compile_all = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        run(["chroot", tree, *compile_all, "-s", str(inside), "-p", "/", str(inside / AGENT_PATH)])
        squash(Path(scratch), out, QUICK)
