import json
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_builder.image.outputs import check_replaceable, replacing, write_sums

pytestmark = pytest.mark.starts_processes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVPACK_CACHE", str(tmp_path / "cache"))


def make(out: Path, text: str) -> None:
    with replacing(out) as new:
        (new / "manifest.json").write_text(text)


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "site/out"
    make(out, "one")
    with pytest.raises(KeyboardInterrupt), replacing(out) as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert [p.name for p in out.iterdir()] == ["manifest.json"]
    make(out, "two")
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert (out / "manifest.json").read_text() == "two"


def test_what_a_killed_build_left_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / ".out2.partial-x"
    (tmp_path / ".out.partial-killed/new").mkdir(parents=True)
    other.mkdir()
    with replacing(out) as living:
        (living / "manifest.json").write_text("living")
        make(out, "one")
        assert living.is_dir()
    assert (out / "manifest.json").read_text() == "living"
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "cache", "out"]


def test_other_peoples_folders_are_not_replaced(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "new")
    check_replaceable(tmp_path)
    (tmp_path / "thesis.txt").touch()
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(Refused, match="no live image"):
            check_replaceable(path)
    (tmp_path / "manifest.json").write_text('{"lvpack": "0.1.0", "plan": {}, "image": "disk.img.zst"}')
    with pytest.raises(Refused, match="no live image"):  # an image set, say
        check_replaceable(tmp_path)


def a_build(out: Path) -> Path:
    """Make what the first lvpack made."""
    (out / "pxe/pxelinux.cfg").mkdir(parents=True)
    (out / "pxe/hosts").mkdir()
    (out / "pxe/pxelinux.cfg/default").write_text("DEFAULT lvpack\n")
    facts = {"lvpack": "0.1.0", "release": "trixie", "kernel": "6.12", "arguments": [], "sizes": {}, "packages": {}}
    (out / "manifest.json").write_text(json.dumps(facts))
    write_sums(out)
    return out


def test_a_build_is_replaced_even_if_part_of_it_is_gone(tmp_path: Path) -> None:
    out = a_build(tmp_path / "out")
    check_replaceable(out)
    run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=out)
    (out / "pxe/pxelinux.cfg/default").unlink()
    check_replaceable(out)
    (tmp_path / "link").symlink_to(out)
    check_replaceable(tmp_path / "link")


@pytest.mark.parametrize("name", ["pxe/pxelinux.cfg/01-52-54-00-12-34-56", "pxe/hosts/mine.cfg", "notes.txt"])
def test_a_file_that_somebody_put_into_a_build_stops_the_next_by_name(tmp_path: Path, name: str) -> None:
    out = a_build(tmp_path / "out")
    (out / name).write_text("mine")
    with pytest.raises(Refused, match=f"no build put there: '{name}'$") as refused:
        check_replaceable(out)
    assert refused.value.hint


def test_a_link_in_a_build_is_somebodys(tmp_path: Path) -> None:
    out = a_build(tmp_path / "out")
    (out / "manifest.json").rename(tmp_path / "manifest.json")
    (out / "manifest.json").symlink_to(tmp_path / "manifest.json")
    (out / "pxe/more").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Refused, match=r"'manifest\.json', 'pxe/more'$"):
        check_replaceable(out)


def test_a_changed_menu_stops_the_next_build_by_name(tmp_path: Path) -> None:
    out = a_build(tmp_path / "out")
    (out / "pxe/pxelinux.cfg/default").write_text("DEFAULT mine\n")
    with pytest.raises(Refused, match=r"changed since it was built: 'pxe/pxelinux\.cfg/default'$"):
        check_replaceable(out)


@pytest.mark.parametrize("broken", ["[]", "{", "\xff", '{"lvpack": 1}', ""])
def test_what_is_not_proven_to_be_a_build_is_none(tmp_path: Path, broken: str) -> None:
    out = a_build(tmp_path / "out")
    (out / "manifest.json").write_text(broken, encoding="latin-1")
    with pytest.raises(Refused, match="no live image"):
        check_replaceable(out)


def test_without_its_sums_a_build_is_not_proven(tmp_path: Path) -> None:
    out = a_build(tmp_path / "out")
    (out / "SHA256SUMS").write_text("0" * 64 + "  disk.img.zst\n")
    with pytest.raises(Refused, match="no live image"):
        check_replaceable(out)
