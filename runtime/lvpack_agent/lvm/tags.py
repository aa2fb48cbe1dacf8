"""Tags by which a VG says that an in-place run of lvpack is under way."""

from collections.abc import Iterable

TAG = "lvpack-inplace"
# Followed by the token of a store: the merge of that store has begun. The VG keeps the tag until the next merge, or
# until the in-place run takes its tags away.
MERGE_TAG = "lvpack-merge-"


def merges(tags: Iterable[str]) -> list[str]:
    """Return the tokens of the stores whose merges have begun; tags are those of a VG."""
    return [tag.removeprefix(MERGE_TAG) for tag in tags if tag.startswith(MERGE_TAG)]
