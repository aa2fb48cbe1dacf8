"""What stage 1 of the initrd does with secrets, by its own lines and the busybox that it has, in a root of its own.

The rest of it starts every end-to-end test.
"""

import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from lvpack_agent.processes import run
from lvpack_agent.secret.names import MOST
from lvpack_builder.image.initrd import STAGE1

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own is root's"),
]
FUNCTION = "take_secrets"


def in_root(root: Path) -> None:
    """Run that function in a root."""
    [text] = re.findall(rf"^{FUNCTION}\(\) \{{\n.*?^\}}\n", STAGE1.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("bin", "dev", "new"):
        (root / name).mkdir()
    os.mknod(root / "dev/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # kernel: Documentation/admin-guide/devices.txt
    shutil.copy("/usr/bin/busybox", root / "bin/busybox")
    start = "/bin/busybox --install -s /bin\nexport PATH=/bin\n"
    run(["chroot", root, "/bin/busybox", "sh", "-euc", f"{start}{text}{FUNCTION}"])


def test_secrets_go_where_the_agent_looks_and_the_first_copy_is_written_over(tmp_path: Path) -> None:
    texts = {"smb": b"open, Sesame", "known-hosts": os.urandom(MOST)}
    (tmp_path / "secrets").mkdir(mode=0o700)
    held = {}
    for name, text in texts.items():
        (tmp_path / "secrets" / name).write_bytes(text)
        (tmp_path / "secrets" / name).chmod(0o600)
        held[name] = os.open(tmp_path / "secrets" / name, os.O_RDONLY)
    try:
        in_root(tmp_path)
        taken = tmp_path / "new/lvpack-secrets"
        assert stat.S_IMODE(taken.stat().st_mode) == 0o700
        for name, text in texts.items():
            assert (taken / name).read_bytes() == text
            assert stat.S_IMODE((taken / name).stat().st_mode) == 0o600
            assert set(os.pread(held[name], 2 * MOST, 0)) == {0}, name
        assert not (tmp_path / "secrets").exists()
    finally:
        for fd in held.values():
            os.close(fd)


def test_an_image_without_secrets(tmp_path: Path) -> None:
    in_root(tmp_path)
    assert list((tmp_path / "new").iterdir()) == []
