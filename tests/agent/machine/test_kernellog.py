"""Which firmware the kernel misses, by its own log."""

from pathlib import Path

from lvpack_agent.machine import kernellog

MISSING = Path(__file__).parents[2] / "data/missing-firmware"


def test_a_missing_file_is_named_once_with_its_device() -> None:
    assert kernellog.missing_firmware((MISSING / "dmesg.txt").read_text()) == (
        "the kernel misses firmware e100/d102e_ucode.bin (e100 0000:00:02.0); build the image with --firmware",
    )


def test_kernels_without_debians_words_are_understood() -> None:
    lines = [line for line in (MISSING / "dmesg.txt").read_text().splitlines() if "firmware: failed" not in line]
    assert len(kernellog.missing_firmware("\n".join(lines))) == 1


def test_a_log_without_missing_firmware_says_nothing() -> None:
    lines = [line for line in (MISSING / "dmesg.txt").read_text().splitlines() if "load" not in line]
    assert kernellog.missing_firmware("\n".join(lines)) == ()
