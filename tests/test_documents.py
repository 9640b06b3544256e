"""Documents: links lead somewhere, named files exist, generated blocks fit their places."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = "|".join(("src", "tests", "docs", "benchmarks", "experiments", "configs"))


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """Links of the page that lead to no file or no heading."""
    out = []
    for link in re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]*`", "", prose(page))):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link or (target.exists() and (not heading or heading in anchors(target))):
            continue
        out.append(link)
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.md").write_text("# One `b`, two!\n[x](b.md) [y](#one-b-two) [z](a.md#c)\n")
    assert broken(tmp_path / "a.md") == ["b.md", "a.md#c"]


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "LOG"], ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    named = re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)`", prose(page))
    assert [path for path in named if not list(ROOT.glob(path))] == []


def test_modules_of_the_glossary_exist():
    glossary = prose(ROOT / "docs" / "design.md").split("## ")[1]
    modules = re.findall(r"`(\w+/\w+)`", glossary)
    source = ROOT / "src" / "paribus"
    assert modules
    missing = [m for m in modules if not ((source / m).is_dir() or (source / f"{m}.py").exists())]
    assert missing == []


@pytest.fixture(scope="module")
def filled():
    spec = spec_from_file_location("blocks", ROOT / "docs" / "blocks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.filled


PAGE = """# By hand
<!-- generated rows -->
old
<!-- end rows -->
of <!-- generated count -->7<!-- end count --> runs
"""


def test_blocks_are_filled_and_nothing_else_is_changed(filled):
    new = filled("a.md", PAGE, {"rows": "| a |\n| b |", "count": "8"})
    assert new == PAGE.replace("old", "| a |\n| b |").replace("7", "8")
    assert filled("a.md", new, {"rows": "old", "count": "7"}) == PAGE
    empty = PAGE.replace("old\n", "")
    assert filled("a.md", empty, {"rows": "old", "count": "7"}) == PAGE


@pytest.mark.parametrize(
    ("page", "blocks"),
    [
        (PAGE, ["rows"]),
        (PAGE, ["rows", "count", "more"]),
        (PAGE.replace("<!-- end count -->", ""), ["rows", "count"]),
        (PAGE.replace("<!-- end count -->", ""), ["rows"]),
        (PAGE + "<!-- end count -->", ["rows", "count"]),
        (PAGE + PAGE, ["rows", "count"]),
    ],
)
def test_markers_without_blocks_and_blocks_without_markers_are_refused(filled, page, blocks):
    with pytest.raises(ValueError, match=r"^a\.md has markers of "):
        filled("a.md", page, dict.fromkeys(blocks, "new"))
