"""In-place mode: the disk itself is shrunk, compacted and truncated, and a power loss at any moment is survived."""
