"""Image sets on the workstation: how they are found, told from other folders, and shown."""

import errno
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lvpack_agent.errors import Refused
from lvpack_agent.image import files, write
from lvpack_agent.image.manifest import write_manifest
from lvpack_agent.plan.make import make_plan
from lvpack_agent.sizes import human
from lvpack_builder.cli.main import main
from lvpack_builder.image import outputs
from lvpack_builder.sets import describe
from tests.agent.builders.layouts import MARGIN, blog_layout
from tests.agent.builders.oddities import ODD_JSON, spoil
from tests.builder.builders import DATA, SIZE, write_set

BUILD = json.dumps(dict.fromkeys(outputs.KEYS, ""))


def said(*words: str) -> str:
    answer = CliRunner().invoke(main, list(words))
    assert answer.exit_code == 2, answer.output
    return answer.output


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (("verify",), "verify"),
        (("inspect",), "inspect"),
        (("plan",), "show the plan of"),
        (("convert",), "convert"),
    ],
)
def test_every_command_names_the_folder_that_a_dot_means(
    words: tuple[str, ...], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["out.qcow2"] if words == ("convert",) else []
    assert said(*words, ".", *more).startswith(
        f"lvpack: cannot {verb} '{tmp_path}': it is no image set: there is no manifest.json in it\n"
    )


def test_a_live_image_is_told_from_an_image_set(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(BUILD)
    (tmp_path / "pxe").mkdir()
    hint = "give a folder that a backup has written to the share\n"
    assert said("verify", str(tmp_path)) == (
        f"lvpack: cannot verify '{tmp_path}': it is a live image, not an image set\n  {hint}"
    )
    assert said("verify", str(tmp_path / "pxe")) == (
        f"lvpack: cannot verify '{tmp_path}/pxe': it is part of a live image, not an image set\n  {hint}"
    )


def test_a_share_names_its_sets(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "live").mkdir()
    (tmp_path / "live/manifest.json").write_text(BUILD)
    assert said("inspect", str(tmp_path)).endswith(
        "it holds image sets, but is none\n  give one of them: four, one, three and 1 more\n"
    )


def test_other_things_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (tmp_path / "alone").touch()
    (tmp_path / "set.partial").mkdir()
    assert said("verify", str(folder / "manifest.json")).endswith(
        f"it is a file, not the folder of an image set\n  give its folder: '{folder}'\n"
    )
    assert "give the folder that holds disk.img.zst" in said("verify", str(tmp_path / "alone"))
    assert "there is no such folder" in said("verify", str(tmp_path / "nothing"))
    assert "it is an image set that is not finished" in said("verify", str(tmp_path / "set.partial"))


def test_a_set_among_the_files_of_a_live_image_is_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(BUILD)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/manifest.json").write_text('{"schema": 99, "lvpack": "9"}')
    link = tmp_path / "link"
    link.symlink_to("set")
    assert "cannot read image set 'set': its schema is 99" in said("verify", str(link))


def done(*words: str) -> str:
    answer = CliRunner().invoke(main, list(words))
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_a_set_is_described(tmp_path: Path, blog: Path) -> None:
    made = write_set(tmp_path / "one", blog)
    assert done("inspect", str(tmp_path / "one")).splitlines() == [
        "image set  one, made today by lvpack 0",
        "machine    Acme Anvil",
        "source     /dev/vda, 12.0 GiB, sectors of 512 bytes",
        "packed     4.00 MiB (4,194,304 bytes), 1.00 MiB of it data",
        f"stored     {human(made.checksums.stored_size)} in disk.img.zst (zstd:1)",
        f"VG         vg1, {made.packed.vgs[0].uuid}, extents of 32.0 MiB",
        "  LV       root: ext4, 416 MiB, was 2.50 GiB",
        "  LV       swap: swap, 32.0 MiB, was 512 MiB",
        "  LV       tmp: ext4, 64.0 MiB, was 512 MiB",
        "  LV       var: ext4, 224 MiB, was 1.50 GiB",
    ]
    assert done("plan", str(tmp_path / "one")).startswith("Plan: pack disk /dev/vda (no model, 12.0 GiB) with VG vg1")


def test_a_restore_is_planned_for_a_disk_of_any_size(tmp_path: Path, blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    manifest = replace(write_set(tmp_path / "one", blog), plan=plan, packed=plan.target)
    text, warnings = describe.restore_plan(manifest, [24 << 30], ["lvpack.grow=var=max,swap=ram"], 2 << 30)
    assert text.startswith("Plan: restore image set one (1.13 GiB packed) to target (no model, 24.0 GiB)")
    rows = {line.split()[2]: line for line in text.splitlines() if " LV " in line}
    assert "18.7 GiB" in rows["var"] and "all that is left: max" in rows["var"], text
    assert "2.00 GiB" in rows["swap"] and "by the rule swap=ram" in rows["swap"], text
    assert warnings == ()
    for sizes, words in (([1 << 20], "the image needs"), ([1 << 40, 1 << 40], "the set has 1 disk, and 2 sizes")):
        with pytest.raises(Refused, match=words):
            describe.restore_plan(manifest, sizes, [], None)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("-a", "lvpack.grow=fill"), "the size of its disk is missing"),
        (("--target-size", "40G", "-a", "lvpack.disk=sda"), "cannot plan with 'lvpack.disk=sda'"),
        (("--target-size", "40G", "-a", "lvpack.grow=x"), "cannot use option 'lvpack.grow=x'"),
        (("--target-size", "large"), "cannot use --target-size 'large'"),
        (("--target-size", "40G", "--memory", "x"), "cannot use --memory 'x'"),
    ],
)
def test_what_is_no_plan_of_a_restore(tmp_path: Path, blog: Path, words: tuple[str, ...], cause: str) -> None:
    write_set(tmp_path / "one", blog)
    assert cause in said("plan", str(tmp_path / "one"), *words)


@pytest.mark.parametrize(("kind", "cause"), ODD_JSON.items())
def test_whatever_stands_for_a_manifest_ends_each_command_at_once(
    tmp_path: Path, blog: Path, kind: str, cause: str
) -> None:
    write_set(tmp_path / "one", blog)
    spoil(tmp_path / "one/manifest.json", kind)
    for words in (("verify",), ("inspect",), ("plan",), ("convert",)):
        more = [str(tmp_path / "out.qcow2")] if words == ("convert",) else []
        answer = CliRunner().invoke(main, [*words, str(tmp_path / "one"), *more])
        assert answer.exit_code == 1 and cause in answer.output, answer.output
    assert "give one of them: one" in said("verify", str(tmp_path))


def test_damage_to_the_log_is_said_and_verify_fails(tmp_path: Path, blog: Path) -> None:
    made = write_set(tmp_path / "one", blog)
    files.write_text(tmp_path / "one", "agent.log", "all is well\n")
    write.write_sums(tmp_path / "one", made.images)
    done("verify", str(tmp_path / "one"))
    (tmp_path / "one/agent.log").write_text("all is hell\n")
    for command in ("inspect", "plan"):
        assert "warning: agent.log has changed since it was written" in done(command, str(tmp_path / "one"))
    answer = CliRunner().invoke(main, ["verify", str(tmp_path / "one")])
    assert answer.exit_code == 1
    assert "cannot trust all of image set 'one': agent.log has changed" in answer.output
    assert "its images are whole" in answer.output


def test_a_set_that_this_user_may_not_read_is_no_traceback(
    tmp_path: Path, blog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "one", blog)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("lvpack_builder.sets.find._is_set", refuse)
    monkeypatch.setattr("os.access", lambda *_, **__: False)  # as click asks
    answer = CliRunner().invoke(main, ["inspect", str(tmp_path / "one")])
    assert answer.exit_code == 1
    assert "cannot inspect" in answer.output and "lvpack.readers=group" in answer.output


def test_a_whole_set_passes_and_a_changed_one_does_not(
    tmp_path: Path, blog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "one", blog)
    monkeypatch.chdir(tmp_path / "one")
    assert done("verify", ".").endswith("image set one is complete and unchanged\n")
    image = tmp_path / "one/disk.img.zst"
    changed = bytearray(image.read_bytes())
    changed[len(changed) // 2] ^= 1
    image.write_bytes(changed)
    answer = CliRunner().invoke(main, ["verify", "."])
    assert answer.exit_code == 1
    assert "disk.img.zst is damaged" in answer.output


# qemu-img of the workstation writes the qcow2 files; here it copies.
QEMU_IMG = '#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\nexec /bin/cp "$1" "$2"\n'


@pytest.mark.starts_processes
def test_a_set_is_converted_as_a_whole_or_not_at_all(
    tmp_path: Path, blog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "one", blog)
    device = (tmp_path / "device").read_bytes()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qemu-img").write_text(QEMU_IMG)
    (tmp_path / "bin/qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = tmp_path / "out.qcow2"
    assert done("convert", str(tmp_path / "one"), str(out)).endswith(f"wrote {out}\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    packed = out.read_bytes()
    assert len(packed) == SIZE
    assert packed[DATA.start : DATA.start + DATA.count] == device[DATA.start : DATA.start + DATA.count]
    assert not any(packed[: DATA.start]) and not any(packed[DATA.start + DATA.count :])
    assert "it exists" in said("convert", str(tmp_path / "one"), str(out))
    assert "it is not a .qcow2 file" in said("convert", str(tmp_path / "one"), "out.vmdk")
    assert not list(tmp_path.glob(".lvpack-*"))


@pytest.mark.parametrize("command", ["inspect", "plan", "verify"])
def test_a_set_that_somebody_else_made_steers_no_terminal(command: str, tmp_path: Path, blog: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\nwarning    none\u202e"
    folder = tmp_path / "one"
    made = write_set(folder, blog)
    row = replace(made.plan.rows[0], object=evil, type=evil, reason=evil)
    plan = replace(made.plan, rows=(row,))
    made = replace(made, plan=plan, warnings=(evil,), machine={"sys_vendor": evil}, created=evil)
    write_manifest(folder, made)
    write.write_sums(folder, made.images)
    answer = CliRunner().invoke(main, [command, str(folder)])
    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    assert all(line.isprintable() for line in lines) and "warning    none" not in lines
    assert ("\\x1b]0;owned\\x07" in answer.output) is (command != "verify")


@pytest.mark.parametrize(
    ("url", "mount"),
    [
        ("nfs://nas:2050/back%20ups/one", "mount -t nfs -o ro,port=2050 'nas:/back ups' /mnt"),
        ("nfs://[2001:db8::1]/b/one", "mount -t nfs -o ro '[2001:db8::1]:/b' /mnt"),
        ("smb://nas/sets/deep/one", "mount -t cifs -o ro,user=NAME //nas/sets/deep /mnt"),
        ("file://STICK/sets/one", "mount -o ro LABEL=STICK /mnt (or UUID=…)"),
    ],
)
def test_a_share_that_is_to_be_mounted_is_refused_with_the_command(url: str, mount: str) -> None:
    answer = said("verify", url)
    assert "lvpack mounts no share on a workstation" in answer
    assert f"mount it and name the folder: {mount}\n" in answer


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("sftp://me:open-Sesame@nas/x", "a password is no part of it"),
        ("https://me:open-Sesame@nas/x", "a password is no part of it"),
        ("ftp://nas/x", "this version of lvpack knows only"),
        ("sftp://nas/x", "it has no user"),
        ("https://nas/x/../y", "must not hold '..'"),
        ("https://nas/x\n", "control characters"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "verify", "plan", "convert"])
def test_a_url_that_is_none_is_refused_and_no_password_is_shown(command: str, url: str, cause: str) -> None:
    more = ["out.qcow2"] if command == "convert" else []
    answer = CliRunner().invoke(main, [command, url, *more])
    assert answer.exit_code == 2 and cause in answer.output, answer.output
    assert "Sesame" not in answer.output


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("-a", "lvpack.share=path-style"), "there is no such share"),
        (("-a", "lvpack.vg=x"), "cannot use option 'lvpack.vg=x' here"),
        (("-a", "lvpack.share=password=Sesame"), "would be a secret"),
        (("--secret", "x=y"), "cannot use secret 'x'"),
    ],
)
def test_options_that_no_share_has(tmp_path: Path, blog: Path, words: tuple[str, ...], cause: str) -> None:
    write_set(tmp_path / "one", blog)
    answer = said("verify", str(tmp_path / "one"), *words)
    assert cause in answer and "Sesame" not in answer
