"""The machine that the live image runs on: firmware, consoles, shells, the kernel's log."""
