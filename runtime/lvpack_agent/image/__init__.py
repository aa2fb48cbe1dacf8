"""Image sets: what lies on a share, how it is written, read and checked."""
