"""Passwords and keys: their names, where they come from, and how they go again."""
