"""The workstation's side of lvpack: builds the live image, runs it in QEMU, reads image sets."""
