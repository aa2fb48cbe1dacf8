import os
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed, Refused
from lvpack_builder import reproducible


@pytest.fixture(autouse=True)
def no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(reproducible.VARIABLE, raising=False)


def test_the_date_is_the_kernels_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boot").mkdir()
    with pytest.raises(Failed, match="no kernel"):
        reproducible.date_of(tmp_path)
    kernel = tmp_path / "boot/vmlinuz-6.12"
    kernel.touch()
    os.utime(kernel, (1795194416, 1795194416))
    assert reproducible.date_of(tmp_path) == 1795194416
    monkeypatch.setenv(reproducible.VARIABLE, "1700000000")
    assert reproducible.date_of(tmp_path) == 1700000000


@pytest.mark.parametrize("text", ["", "yesterday", "0", "-1700000000", "17e8", "9999999999"])
def test_a_date_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reproducible.VARIABLE, text)
    with pytest.raises(Refused, match="SOURCE_DATE_EPOCH"):
        reproducible.given()


def test_tools_see_the_date_and_every_file_gets_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to("nowhere")
    (tmp_path / "new").touch()
    with reproducible.dated(1700000000):
        assert os.environ[reproducible.VARIABLE] == "1700000000"
        reproducible.stamp(tmp_path)
    assert reproducible.VARIABLE not in os.environ
    assert {p.lstat().st_mtime for p in (tmp_path, *tmp_path.rglob("*"))} == {1700000000}


def test_the_day_of_a_build_is_not_in_its_accounts() -> None:
    # As Debian's packages leave them; the third field is the day of the last password change (shadow(5)).
    text = "root:*:20782:0:99999:7:::\n_apt:!:20782::::::\n"
    assert reproducible.without_dates(text, 20000) == "root:*:20000:0:99999:7:::\n_apt:!:20000::::::\n"
