"""What the workstation does with image sets: find, describe, verify, convert."""
