"""The command line of the workstation: one module a command, and what they share.

Unit tests call the commands by their group (tests/builder/test_cli.py, test_sets.py, test_netboot.py). `run` and `demo`
start machines, in qemu-tests/tests/test_main_job.py and by `make demo`.
"""
