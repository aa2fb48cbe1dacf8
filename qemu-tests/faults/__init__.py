"""The rig of faults: a table of what fails, when, and what must come of it; `make faults` plays each row in a guest."""
