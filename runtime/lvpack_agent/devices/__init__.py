"""Block devices, a module for each of the system's tools that tells or changes something about them."""
