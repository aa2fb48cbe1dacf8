from lvpack_builder.image.composition import GROUPS, group_of


def test_files_are_grouped_by_the_start_of_their_path() -> None:
    for path, group in {
        "usr/lib/modules/6.12/kernel/drivers/net/tun.ko": "modules: network cards and networks",
        "usr/lib/modules/6.12/kernel/drivers/md/dm-mod.ko": "modules: md, device-mapper",
        "usr/lib/modules/6.12/modules.dep": "modules: the rest, and their index",
        "usr/lib/python3.13/os.py": "Python",
        "usr/lib/x86_64-linux-gnu/libc.so.6": "libraries",
        "usr/sbin/lvm": "programs",
        "etc/inittab": "the rest",
    }.items():
        assert group_of(path) == group
        assert group in GROUPS
