"""From an image set to disks that boot."""
