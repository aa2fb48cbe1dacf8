"""Installed by pipx from its wheel on a clean Debian: a file that the wheel lacks is missed here, and nowhere else."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvpack_agent.processes import run
from lvpack_builder import isolated
from lvpack_builder.image import mirror
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab.console import running
from lvpack_builder.lab.helper import SHELL, shell_ready
from lvpack_builder.lab.qemu import accelerator, live
from lvpack_builder.paths import cache_dir

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

PROJECT = Path(__file__).parents[2]
# What a person has before `pipx install`, and nothing else: minbase is dpkg, apt and what they need.
BEFORE = ("ca-certificates", "pipx")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Settings of pip that say where packages come from.
INDEX = ("cert", "extra-index-url", "find-links", "index-url", "proxy", "trusted-host")

# The mounts go with the mount namespace that isolated.run() makes. $1 is the root, then folders to show in it.
ENTER = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder; do mkdir -p "$root$folder"; mount -o bind,ro "$folder" "$root$folder"; done
exec chroot "$root" sh -eux /root/as-a-user
"""

# What README.md tells a person to do; the first build refuses, and names a command that installs what is missing.
AS_A_USER = """
cd /root
pipx install /root/lvpack-*.whl
export PATH="/root/.local/bin:$PATH"
lvpack --version
lvpack build 2> refused && exit 1 || test $? = 2
cat refused
apt-get update
install=$(grep -o 'apt-get install .*' refused)
DEBIAN_FRONTEND=noninteractive $install --yes --no-install-recommends
lvpack build -a lvpack.action=shell
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="install-", dir=cache_dir()) as name:
        yield Path(name)


def clean_root(folder: Path, release: str) -> Path:
    """Make a root filesystem of a Debian release from the mirrors of this machine."""
    mirrors = mirror.read()
    root = folder / "root"
    sources = [f"deb {site} {suite} main" for site, suite in mirrors.suites(release)]
    command = ["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(BEFORE)}"]
    run([*command, release, root, *sources])
    # Where this machine trusts authorities of its own, its index of packages may have a certificate of theirs.
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    return root


def index_settings() -> dict[str, str]:
    """Return how pip on this machine finds PyPI, as its environment variables, and proxies."""
    found = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    for line in run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in INDEX:
            found["PIP_" + name.replace("-", "_").upper()] = value.strip("'").replace("\\n", " ")
    return found


def folders_named(settings: dict[str, str]) -> list[str]:
    """Return the local folders that pip is told of, and what stands beside them: an index links to files there."""
    words = [word.removeprefix("file://") for value in settings.values() for word in value.split()]
    folders = [Path(word) for word in words if word.startswith("/") and Path(word).is_dir()]
    return sorted({str(f if f.parent == Path("/") else f.parent) for f in folders})


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_an_installed_lvpack_builds_an_image_that_boots(release: str, folder: Path) -> None:
    root = clean_root(folder, release)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", root / "root", PROJECT])
    (root / "root/as-a-user").write_text(AS_A_USER)
    settings = index_settings()
    env = {"HOME": "/root", "LVPACK_CACHE": "", "XDG_CACHE_HOME": "", **settings}
    log = cache_dir() / f"install-{release}.log"
    isolated.run(["sh", "-c", ENTER, "sh", root, *folders_named(settings)], log=log, env=env)

    said = log.read_text()
    assert re.search("^lvpack: cannot build the live image: this machine lacks .*mksquashfs", said, re.MULTILINE)
    assert "built /root/lvpack-image/lvpack.iso and the netboot kit /root/lvpack-image/pxe" in said
    image = LiveImage(folder=root / "root/lvpack-image")
    run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=image.folder)
    assert json.loads((image.folder / "manifest.json").read_text())["arguments"] == ["lvpack.action=shell"]
    assert list((root / "root/.cache/lvpack").glob("base-*/00-base.squashfs"))
    with running(live(image, [SHELL]), accelerator(image), folder / "boot.log") as console:
        shell_ready(console)
        answer = console.shell("python3 -m lvpack_agent --help", 120)
    assert answer.status == 0 and "lvpack.target" in answer.output
