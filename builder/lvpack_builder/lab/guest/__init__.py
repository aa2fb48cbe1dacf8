"""Programs that run in guests.

No unit tests: they partition, make filesystems and mount. The end-to-end tests have sample disks and inventories from
them.
"""
