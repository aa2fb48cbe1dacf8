"""The command line: help that fits a terminal, manual pages, completion."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lvpack_agent.processes import run
from lvpack_agent.settings.table import OPTIONS
from lvpack_builder.cli import man, pages
from lvpack_builder.cli.main import main
from lvpack_builder.cli.roff import Entry, Page, Section, plain, roff

PAGES = Path(__file__).parents[2] / "docs/man"


@pytest.mark.parametrize("command", ["build", "run"])
def test_help_fits_a_terminal(command: str) -> None:
    lines = CliRunner().invoke(main, [command, "--help"], prog_name="lvpack").output.splitlines()
    assert len(lines) <= 44
    assert max(len(line) for line in lines) <= 80
    assert any("lvpack.target" in line for line in lines)


@pytest.mark.parametrize(("words", "page"), [([], pages.lvpack(main)), (["cmdline"], pages.cmdline())])
def test_the_manual_pages_in_docs_are_what_the_code_makes(words: list[str], page: Page) -> None:
    printed = CliRunner().invoke(main, ["man", "--roff", *words]).output
    assert printed == roff(page)
    assert (PAGES / page.file).read_text() == printed, "run: make man"


def test_the_manual_pages_have_every_command_and_every_option() -> None:
    text = plain(pages.lvpack(main))
    for name, command in main.commands.items():
        assert f"lvpack {name}" in text
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.opts[-1] in text
    assert all(f"lvpack.{option.name}={option.values}" in plain(pages.cmdline()) for option in OPTIONS)


# A line that begins with a dot, characters that roff takes for others, and one that is not ASCII.
HARD = Page(
    name="hard",
    number=7,
    summary="a-b",
    sections=(
        Section(title="SYNOPSIS", lines=(".x -y",)),
        Section(
            title="OPTIONS",
            paragraphs=(".one", "'two' \\ \"x\" §"),
            entries=(Entry(term="-o", value="N", text="use `a-b`"),),
        ),
    ),
)


def test_roff_sees_no_request_in_a_text() -> None:
    assert roff(HARD).splitlines() == [
        '.TH "HARD" "7" "" "lvpack" "lvpack manual"',
        ".nh",
        ".SH NAME",
        r"hard \- a\-b",
        '.SH "SYNOPSIS"',
        ".nf",
        r"\fB.x \-y\fR",
        ".fi",
        '.SH "OPTIONS"',
        r"\&.one",
        ".PP",
        r"\(aqtwo\(aq \e \(dqx\(dq \[u00A7]",
        ".TP",
        r"\fB\-o\fR \fIN\fR",
        r"use \fBa\-b\fR",
    ]


def test_a_page_as_plain_text() -> None:
    assert plain(HARD).splitlines()[-6:] == ["    .one", "", "    'two' \\ \"x\" §", "", "    -o N", "        use a-b"]


@pytest.mark.starts_processes
@pytest.mark.parametrize("page", ["lvpack.1", "lvpack.cmdline.7"])
def test_groff_has_nothing_to_say_against_the_pages(page: str) -> None:
    found = run(["groff", "-man", "-ww", "-Tutf8", "-z", PAGES / page])
    assert found.stderr == ""


@pytest.mark.starts_processes
def test_a_page_is_shown_by_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    man.show(HARD)
    assert capfd.readouterr().out == plain(HARD)
    for program in ("mandoc", "man"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$1"\n')
        (tmp_path / program).chmod(0o755)
        man.show(HARD)
        assert capfd.readouterr().out == {"man": "man -l\n", "mandoc": "mandoc -a\n"}[program]


@pytest.mark.starts_processes  # click asks bash for its version
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    answer = CliRunner().invoke(main, ["completion", shell], prog_name="lvpack")
    assert answer.exit_code == 0
    assert "_LVPACK_COMPLETE" in answer.output


def test_a_machine_with_a_share_reaches_no_other_server(tmp_path: Path) -> None:
    words = ["run", "--disk", str(tmp_path / "disk.img"), "--share", str(tmp_path), "-a"]
    answer = CliRunner().invoke(main, [*words, "lvpack.source=nfs://nas/backups/web1"])
    assert answer.exit_code == 2 and "'nfs://nas/backups/web1'" in answer.output
