"""Trees of files, copied and compared with all that XFS knows of a file."""
