"""LVM: its commands, its metadata as text, and its labels on the disk."""
