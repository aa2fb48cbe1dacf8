"""What both modes of a backup share: the survey before, the dump after, and the journal on the share."""
