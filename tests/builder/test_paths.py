from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_builder import paths


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package had come in a wheel."""
    monkeypatch.setattr(paths, "checkout", lambda: None)
    monkeypatch.delenv("LVPACK_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_a_checkout_is_told_from_an_installed_package(tmp_path: Path) -> None:
    assert paths.checkout() == Path(__file__).parents[2]
    package = tmp_path / "builder/lvpack_builder"
    assert paths.checkout(package) is None
    (tmp_path / "pyproject.toml").touch()
    assert paths.checkout(package) == tmp_path
    assert paths.checkout(tmp_path / "site-packages/lvpack_builder") is None


def test_a_checkout_has_everything_in_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LVPACK_CACHE", raising=False)
    root = Path(__file__).parents[2]
    assert paths.elements_dir() == root / "elements"
    assert paths.output_dir() == root / "out"
    assert paths.cache_dir() == root / ".cache/lvpack"


@pytest.mark.usefixtures("installed")
def test_an_installed_package_uses_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert paths.elements_dir() == paths.PACKAGE / "elements"
    assert paths.cache_dir() == tmp_path / "home/.cache/lvpack"
    assert paths.output_dir() == tmp_path / "lvpack-image"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert paths.cache_dir() == tmp_path / "home/.cache/lvpack"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache_dir() == tmp_path / "xdg/lvpack"
    monkeypatch.setenv("LVPACK_CACHE", str(tmp_path / "chosen"))
    assert paths.cache_dir() == tmp_path / "chosen"


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LVPACK_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(Failed, match=f"cannot make folder '{tmp_path}/file/cache'"):
        paths.cache_dir()
