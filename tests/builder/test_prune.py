"""What goes into the live image: rules, what kept files need, and what the build refuses."""

import os
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_builder.image import elf, modules
from lvpack_builder.image.prune import Needs, orphans, select
from lvpack_builder.image.rules import RULES, parse, verdicts
from lvpack_builder.image.tree import Tree, owners

FILES = {
    "usr/bin/tool": "",
    "usr/bin/perl": "",
    "usr/bin/script": "#!/usr/bin/perl -w\n",
    "usr/lib/libtool.so.1.2": "",
    "usr/lib/libold.so.1": "",
    "usr/lib/modules/6.1/kernel/fs/ext4.ko": "",
    "usr/lib/modules/6.1/kernel/lib/crc16.ko": "",
    "usr/lib/modules/6.1/kernel/sound/beep.ko": "",
    "usr/lib/modules/6.1/modules.dep": "kernel/fs/ext4.ko: kernel/lib/crc16.ko\nkernel/lib/crc16.ko:\n",
    "usr/share/doc/tool/README": "",
    "var/lib/dpkg/info/perl-base.list": "/.\n/bin\n/bin/perl\n/usr/lib\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "usr/bin/script").chmod(0o755)
    (tmp_path / "mnt").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/t").symlink_to("/bin/tool")
    (tmp_path / "usr/bin/p").symlink_to("../../bin/perl")
    (tmp_path / "usr/lib/libtool.so.1").symlink_to("libtool.so.1.2")
    return tmp_path


def kept(root: Path, rules: str, libraries: dict[str, list[str]] | None = None) -> set[str]:
    tree = Tree.of(root)
    needs = Needs(root, tree)
    found = select(
        tree,
        verdicts(tree, parse(rules), owners(root, tree)),
        lambda path: [*needs(path), *(libraries or {}).get(path, [])],
    )
    return found - orphans(root, tree, found)


def test_the_last_rule_decides_and_folders_speak_for_what_is_below(root: Path) -> None:
    found = kept(root, "drop /usr\nkeep /usr/share/*/tool\nkeep /usr/bin/tool # why\n")
    assert {"/usr", "/usr/bin", "/usr/bin/tool", "/usr/share/doc/tool/README", "/mnt", "/bin"} <= found
    assert not {"/usr/lib", "/usr/bin/script", "/usr/bin/t"} & found


def test_a_package_goes_with_its_links_and_scripts(root: Path) -> None:
    found = kept(root, "drop package:perl*\n")
    assert "/usr/lib/libtool.so.1.2" in found, "a folder of a package is not the package's alone"
    assert "/usr/bin/t" in found
    assert not {"/usr/bin/perl", "/usr/bin/p", "/usr/bin/script"} & found


def test_modules_and_libraries_come_with_what_needs_them(root: Path) -> None:
    library = ["/usr/lib/libtool.so.1", "/usr/lib/libtool.so.1.2"]
    rules = "needed /usr/lib/*.so*\nneeded /usr/lib/modules/*/kernel\nkeep /usr/lib/modules/*/kernel/fs\n"
    found = kept(root, rules, {"/usr/bin/tool": library})
    assert {*library, "/usr/lib/modules/6.1/kernel/lib/crc16.ko"} <= found
    assert not {"/usr/lib/libold.so.1", "/usr/lib/modules/6.1/kernel/sound"} & found


def test_what_is_needed_cannot_be_left_out(root: Path) -> None:
    with pytest.raises(Failed, match=r"'/usr/lib/modules/6.1/kernel/lib/crc16.ko' .* '.*/ext4.ko' needs it"):
        kept(root, "drop /usr/lib/modules/*/kernel/lib\n")
    with pytest.raises(Failed, match=r"'/usr/lib/libold.so.1' out of the live image: '/usr/bin/tool' needs it"):
        kept(root, "drop /usr/lib/libold.*\n", {"/usr/bin/tool": ["/usr/lib/libold.so.1"]})


def test_a_program_without_its_library_stops_the_build(root: Path) -> None:
    (root / "usr/bin/tool").write_bytes(Path("/usr/bin/zstd").read_bytes())
    with pytest.raises(
        Failed, match=r"cannot pack '/usr/bin/tool' into the live image: it needs '.*', which is nowhere"
    ):
        kept(root, "")


@pytest.mark.parametrize("line", ["keep", "forget /usr", "drop usr/bin", "drop /usr /bin"])
def test_what_is_no_rule_is_named(line: str) -> None:
    with pytest.raises(Failed, match=f"cannot read rule '{line}' in line 2"):
        parse(f"# rules\n{line}\n")


def test_links_lead_where_the_kernel_would_go(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("../../../../usr/bin/../lib")
    tree = Tree.of(root)
    assert tree.resolve("/bin/t") == ("/usr/bin/tool", ["/bin", "/usr/bin/t", "/bin"])
    assert tree.resolve("/out/libtool.so.1")[0] == "/usr/lib/libtool.so.1.2"
    assert tree.resolve("/loop")[0] == tree.resolve("/nowhere")[0] == ""


def test_every_rule_of_the_live_image_is_one() -> None:
    assert len(parse(RULES.read_text())) > 100


@pytest.mark.starts_processes
def test_needs_are_those_of_the_dynamic_linker() -> None:
    program = Path("/usr/bin/zstd")
    found = elf.read(program)
    listed = run([found.interpreter, "--list", program]).stdout
    assert "libc.so.6" in found.libraries
    for name in found.libraries:
        assert name in listed
    assert elf.read(Path("/bin/busybox")) == elf.Needs()  # busybox-static
    assert elf.read(Path(os.devnull)) == elf.Needs()


def test_modules_are_loaded_after_what_they_need() -> None:
    text = "k/fs/a-b.ko.xz: k/lib/b.ko.xz k/lib/c.ko.xz\nk/lib/b.ko.xz: k/lib/c.ko.xz\nk/lib/c.ko.xz:\n"
    depends = modules.dependencies(text)
    assert modules.loading_order(depends, ["a_b", "inside"]) == ["k/lib/c.ko.xz", "k/lib/b.ko.xz", "k/fs/a-b.ko.xz"]
    assert modules.built_in("kernel/fs/binfmt-script.ko\n") == {"binfmt_script"}
