"""Tags by which a VG says that an in-place run of lvpack is under way."""

TAG = "lvpack-inplace"
# Before the token of a store: its merge has begun. The VG keeps the tag until the next merge, or until it is unmarked.
MERGE_TAG = "lvpack-merge-"
