import pytest

from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.dmsetup import StoreUse
from lvpack_agent.errors import Failed
from lvpack_agent.processes import Completed
from lvpack_agent.sizes import MIB


def test_a_mapping_is_moved_to_other_devices() -> None:
    table = "0 8192 linear 254:2 2048\n8192 16384 striped 2 128 254:2 10240 254:3 2048\n"
    under = {"254:2": ("/dev/vda", 257 * MIB), "254:3": ("/dev/vdb", 0)}
    assert dmsetup.moved(table, under) == (
        "0 8192 linear /dev/vda 528384\n8192 16384 striped 2 128 /dev/vda 536576 /dev/vdb 2048\n"
    )


def test_snapshot_status() -> None:
    assert dmsetup.parse_snapshot_status("0 2048 snapshot 16/4096 16") == StoreUse(used=8192, size=2 * MIB, own=8192)
    assert dmsetup.parse_snapshot_status("0 2048 snapshot Invalid") is None


@pytest.mark.parametrize(
    ("state", "log", "message", "hint"),
    [
        ("Overflow", "", "store overflowed", "more room"),
        ("Invalid", "snapshots: Invalidating snapshot: Unable to allocate exception.", "store overflowed", "more room"),
        ("Invalid", "snapshots: Invalidating snapshot: Error reading/writing.", "could not be read", "does not help"),
    ],
)
def test_a_snapshot_that_is_lost_says_why(
    monkeypatch: pytest.MonkeyPatch, state: str, log: str, message: str, hint: str
) -> None:
    said = {"dmsetup": f"0 2048 snapshot {state}\n", "dmesg": f"device-mapper: {log}\n"}
    monkeypatch.setattr(dmsetup, "run", lambda argv: Completed(status=0, stdout=said[argv[0]], stderr=""))
    with pytest.raises(Failed, match=message) as caught:
        dmsetup.store_use("one")
    assert hint in caught.value.hint
