"""What volumes hold: filesystems and swap, measured, checked, resized, made anew."""
