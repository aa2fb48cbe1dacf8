"""Overlay mode: the source is never written, a copy-on-write store takes every write."""
