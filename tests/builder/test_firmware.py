import os
from pathlib import Path

import pytest

from lvpack_builder.image import firmware


@pytest.mark.starts_processes
def test_what_modules_name_is_copied_and_links_become_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tree = tmp_path / "whole", tmp_path / "tree"
    firmware.copy_named(whole, tree)  # no firmware was installed
    assert not tree.exists()
    files = whole / firmware.FOLDER
    (files / "bnx2").mkdir(parents=True)
    (files / "bnx2/mips.fw").write_text("mips")
    (files / "bnx2/unnamed.fw").touch()
    (files / "qat_402xx.bin").write_text("qat")
    (files / "t6fw.bin").symlink_to("bnx2/unnamed.fw")
    kernel = tree / "usr/lib/modules/6.12/kernel"
    kernel.mkdir(parents=True)
    (kernel / "bnx2.ko").touch()
    fake = tmp_path / "bin/modinfo"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho bnx2/mips.fw; echo bnx2/mips.fw; echo 'qat_*.bin'; echo t6fw.bin; echo gone.bin\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    firmware.copy_named(whole, tree)
    copied = sorted(p for p in (tree / firmware.FOLDER).rglob("*") if not p.is_dir())
    assert [p.relative_to(tree / firmware.FOLDER).as_posix() for p in copied] == [
        "bnx2/mips.fw",
        "qat_402xx.bin",
        "t6fw.bin",
    ]
    assert not any(p.is_symlink() for p in copied)
