"""The power button, by what the kernel says of input devices and by what these say."""

from lvpack_agent.machine.powerbutton import EVENT, has_power_key, pressed


def test_which_devices_have_it() -> None:
    assert has_power_key("10000000000000 0")  # an ACPI power button (Linux 6.12)
    assert has_power_key("402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe")  # a keyboard may have the key
    assert has_power_key("1f0000 0 0 0 0") is False  # a mouse
    assert has_power_key("0") is False
    assert has_power_key("") is False


def event(kind: int, code: int, value: int) -> bytes:
    return EVENT.pack(1, 2, kind, code, value)


def test_which_events_are_a_press() -> None:
    down, up, sync, other = event(1, 116, 1), event(1, 116, 0), event(0, 0, 0), event(1, 30, 1)
    assert pressed(other + sync + down + sync)
    assert not pressed(other + sync + up + sync)
    assert not pressed(down[:-1])
    assert not pressed(b"")
