"""The pages for people: every page can be found, every link leads somewhere, every file that they name is there."""

import re
import xml.etree.ElementTree
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
# What these begin with is a path of the project, also with NAME or a star in it, for any name.
FOLDERS = ("builder", "docs", "elements", "qemu-tests", "runtime", "tests", ".ci")
PATH = re.compile(rf"({'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: Path) -> list[str]:
    """Return the words that stand between backticks or in blocks of code."""
    blocks = re.findall(r"^```.*?^```", text(page), re.MULTILINE | re.DOTALL)
    words = " ".join(blocks).split()
    rest = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    return [*words, *(word for span in re.findall(r"`([^`\n]+)`", rest) for word in span.split())]


def links(page: Path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text(page)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files() -> list[str]:
    """Return the files and folders of the project that a page may name."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return [*FOLDERS, *(path.relative_to(ROOT).as_posix() for path in found)]


def test_the_index_leads_to_every_page() -> None:
    listed = {(DOCS / link).resolve() for link in links(DOCS / "index.md")}
    assert listed == {page for page in PAGES if page != DOCS / "index.md"}
    assert "docs/index.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    there = files()
    for word in code(page):
        if not (found := PATH.match(word)):
            continue
        wanted = re.sub(r"\bNAME\b", "*", found[0].rstrip("/."))
        assert any(fnmatch(name, wanted) for name in there), f"{page.name} names {word}"


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_program_that_a_page_names_by_its_name_alone_is_there(page: Path) -> None:
    names = {name.rpartition("/")[2] for name in files()}
    assert [w for w in code(page) if re.fullmatch(r"\w+\.(py|list|toml|j2)", w) and w not in names] == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    places = {"lvpack_agent": ROOT / "runtime", "lvpack_builder": ROOT / "builder", "tools": ROOT / "qemu-tests"}
    for word in code(page):
        if re.fullmatch(r"(lvpack_agent|lvpack_builder|tools)(\.\w+)*", word):
            module = places[word.partition(".")[0]] / word.replace(".", "/")
            assert module.is_dir() or module.with_suffix(".py").is_file(), f"{page.name} names {word}"


def test_the_table_of_what_is_where() -> None:
    """Each file is in the folder at the head of its column; no folder of the agent, no end-to-end test is missing."""
    named = set()
    for table in re.findall(r"(?:^\|.*\n)+", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE):
        head, _, *rows = [
            [re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:-1]] for row in table.splitlines()
        ]
        for row in rows:
            for [*folder], cell in zip(head[1:], row[1:], strict=True):
                named |= {f"{folder[0]}{name}" for name in cell if folder}
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []
    agent = ROOT / "runtime/lvpack_agent"
    folders = {path.parent.relative_to(ROOT).as_posix() for path in agent.glob("*/*.py")}
    assert folders - {name.rpartition("/")[0] for name in named} == set()
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "qemu-tests/tests").glob("test_*.py")}
    assert tests - named == set()


def test_the_picture_can_be_drawn_and_is_shown() -> None:
    drawing = xml.etree.ElementTree.parse(DOCS / "flow.svg").getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg" and drawing.find("{*}title") is not None
    assert "flow.svg" in links(DOCS / "design.md") and "docs/flow.svg" in links(ROOT / "README.md")
