import json
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_builder.lab import saved
from lvpack_builder.lab.monitor import ask
from lvpack_builder.lab.qemu import TCG, Drive, Machine

DISK = Drive(path=Path("disk.img"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_text(name)
    return Machine(kernel=tmp_path / "kernel", initrd=tmp_path / "initrd", folders=(("host", tmp_path),))


def test_what_a_saved_guest_had_stays_in_its_slot(machine: Machine) -> None:
    bare = replace(machine, forks=True)
    with_disk = replace(bare, drives=(DISK,), saved=Path("a guest")).command(TCG)
    [at] = [number for number, word in enumerate(with_disk) if word.startswith("virtio-blk-pci")]
    assert "virtio-net-pci" in " ".join(with_disk[:at]) and "-virtfs" in with_disk[:at]
    assert with_disk[with_disk.index("-incoming") + 1] == "exec:cat 'a guest'"
    rest = [w for w in with_disk if "d0" not in w and w not in ("-drive", "-incoming", "exec:cat 'a guest'")]
    assert [w for w in rest if w != "-device"] == [w for w in bare.command(TCG) if w != "-device"]


def test_what_boots_otherwise_is_not_saved(machine: Machine, tmp_path: Path) -> None:
    assert saved.fits(replace(machine, drives=(DISK,), memory=512, network=False), TCG)
    assert not saved.fits(machine, "kvm")
    for other in (
        replace(machine, nvram=tmp_path / "nvram"),
        replace(machine, kernel=None, iso=tmp_path / "iso"),
        replace(machine, monitor=tmp_path / "monitor"),
        replace(machine, drives=(DISK,) * 26),
    ):
        assert not saved.fits(other, TCG)


@pytest.mark.starts_processes
def test_a_guest_is_of_its_image_its_machine_and_its_qemu(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "qemu-system-x86_64"
    fake.write_text("#!/bin/sh\necho version 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LVPACK_CACHE", str(tmp_path))
    place = saved.place(machine, TCG)
    copy = tmp_path / "copy"
    copy.write_text("kernel")
    assert saved.place(replace(machine, kernel=copy, drives=(DISK,), folders=(("host", Path("x")),)), TCG) == place
    others = [replace(machine, memory=512), replace(machine, network=False), replace(machine, initrd=copy)]
    assert len({place, *(saved.place(other, TCG) for other in others)}) == 4
    fake.write_text("#!/bin/sh\necho version 2\n")
    assert saved.place(machine, TCG) != place


def test_the_monitor_answers_between_events(tmp_path: Path) -> None:
    answers: dict[str, list[dict[str, object]]] = {
        "qmp_capabilities": [{"return": {}}],
        "query-migrate": [{"event": "STOP"}, {"return": {"status": "completed"}}],
        "migrate": [{"error": {"desc": "no such thing"}}],
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "monitor"))
        server.listen()

        def serve() -> None:
            for _ in range(2):
                link, _address = server.accept()
                with link, link.makefile("rw") as lines:
                    lines.write('{"QMP": {}}\n')
                    lines.flush()
                    for line in lines:
                        lines.writelines(json.dumps(a) + "\n" for a in answers[json.loads(line)["execute"]])
                        lines.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(tmp_path / "monitor", "query-migrate") == {"status": "completed"}
        with pytest.raises(Failed, match=r"do 'migrate': no such thing"):
            ask(tmp_path / "monitor", "migrate", uri="exec:false")
        thread.join()
