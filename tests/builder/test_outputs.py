from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_builder.outputs import check_replaceable, replacing

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
    (tmp_path / "manifest.json").touch()
    check_replaceable(tmp_path)
