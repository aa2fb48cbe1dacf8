"""The live image: diskimage-builder's root filesystem, pruned, packed, and written to a folder as a whole."""
