"""Damaged input for every parser: nothing but lvpack's own errors may come out of one.

`make fuzz N=100000` (python -m tests.fuzz); unit tests run a few hundred cases of each. A case is made of a good sample
by the dice; its number and the seed make it again.
"""
