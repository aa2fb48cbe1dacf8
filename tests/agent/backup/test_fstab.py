"""Which LV is mounted where, by texts of /etc/fstab as installers and people write them."""

from pathlib import Path

from lvpack_agent.backup.fstab import mounts
from tests.agent.builders.layouts import blog_layout

TEXT = """
# a comment
/dev/mapper/vg1-root / ext4 errors=remount-ro 0 1
UUID=1234-ABCD /boot/efi vfat umask=0077 0 1
/dev/vg1/var\t/var/ ext4 defaults
LABEL=swap none swap sw 0 0
/dev/vg1/tmp /tmp ext4
/dev/vg1/tmp /twice ext4
/dev/vg1/var /twice ext4
/dev/sda1
"""


def test_mount_points_of_lvs(blog: Path) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    uuids = {lv.name: lv.uuid for lv in vg.lvs}
    found = mounts(TEXT.replace("vg1", vg.name), layout)
    assert found == {"/": uuids["root"], "/var": uuids["var"], "/tmp": uuids["tmp"]}


def test_a_name_of_several_is_of_none(blog: Path) -> None:
    """The contents of all LVs of this layout have one UUID; a blank in a name is \\040."""
    layout = blog_layout(blog)
    assert mounts("UUID=u /srv ext4", layout) == {}
    [vg] = layout.vgs
    assert list(mounts(f"/dev/{vg.name}/var /a\\040b ext4", layout)) == ["/a b"]
