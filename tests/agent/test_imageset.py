"""What an image set says about itself: its manifest, also as older versions wrote it, and how to restore it by hand."""

from lvpack_agent import imageset
from lvpack_agent.efi import Loader
from lvpack_agent.imageset import Manifest
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout import Disk, Layout
from lvpack_agent.options import Compression
from lvpack_agent.plan import Plan
from lvpack_agent.streams import Checksums

SHIM = Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi")


def manifest(boot: tuple[Loader, ...]) -> Manifest:
    layout = Layout(disks=(Disk(path="/dev/vda", size=0, sector_size=512, table=None),), vgs=())
    return Manifest(
        schema=imageset.SCHEMA,
        lvpack="0",
        name="one",
        created="",
        machine={"firmware": "UEFI, Secure Boot enabled"},
        plan=Plan(source=layout, target=layout, steps=(), moves=(), store=0),
        packed=layout,
        image="disk.img.zst",
        compression=Compression(method="zstd", level=0),
        block_map=(),
        checksums=Checksums(stored_size=0, stored_sha256="", raw_size=0),
        boot=boot,
    )


def test_manifests_with_and_without_boot_entries_are_read() -> None:
    made = manifest((SHIM,))
    form = to_json(made)
    assert from_json(Manifest, form) == made
    del form["boot"]  # as lvpack wrote them before
    assert from_json(Manifest, form) == manifest(())


def test_restore_text_has_the_command_that_makes_the_entry() -> None:
    other = Loader(title="it's", partition=2, path="\\a b.efi")
    text = imageset.restore_text(manifest((SHIM, other)))
    first = r"efibootmgr --create --disk /dev/sdX --part 1 --label debian --loader '\EFI\debian\shimx64.efi'"
    second = r"""efibootmgr --create --disk /dev/sdX --part 2 --label 'it'"'"'s' --loader '\a b.efi'"""
    assert 0 < text.index(second) < text.index(first), "what is made last comes first"
    assert "efibootmgr" not in imageset.restore_text(manifest(()))
