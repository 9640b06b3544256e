"""The flips browser in a real one: headless Chromium opens a report and clicks through it.

Screenshots are kept in $PARIBUS_ARTEFACTS, or else in pytest's own temporary folder.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from paribus.store.layout import ExperimentFolder
from stores import EVIL, reported

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="NO BROWSER WAS TESTED: install Debian's chromium to run these tests"
)

EVIL_ARM = "lora-<img src=x onerror=alert(3)>"
HIDDEN = "evil\u202etxt\u0007 \u200bend"
LONG = "step by step " * 80_000
ARMS = {"baseline": "none", "full": "full", EVIL_ARM: "lora"}
SOLVED = {"baseline": {0}, "full": set(range(60)), EVIL_ARM: {0, *range(58, 64)}}
"""Of 66 problems. full − baseline: only A 59, only B 0, both 1, neither 6."""
TEXTS = {("baseline", 2): EVIL, ("baseline", 3): HIDDEN, ("baseline", 4): LONG, ("baseline", 5): ""}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return reported(
        ExperimentFolder(tmp_path_factory.mktemp("small") / "flips"),
        ARMS,
        66,
        lambda arm, number: number in SOLVED[arm],
        lambda arm, number: TEXTS.get((arm, number), f"{arm[:4]} wrote case {number}"),
    )


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PARIBUS_ARTEFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Page]:
    """The report, scrolled to the browser. A complaint of Chromium's fails the test."""
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    complaints = watch(page)
    open_at_flips(page, report)
    yield page
    assert page.title() == "flips: Which?"
    page.close()
    assert complaints == []


def watch(page: Page) -> list[str]:
    """Collect errors, dialogs, requests beyond the page, and policy violations (as messages)."""
    page.set_default_timeout(5000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: None if request.is_navigation_request() else complaints.append(request.url),
    )
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))"
    )
    return complaints


def open_at_flips(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    page.locator("#flips").scroll_into_view_if_needed()
    expect(page.locator("#flips-browser")).to_be_visible()


def rows(page: Page) -> list[int]:
    """Numbers of the problems in the list, as shown."""
    return [int(text) for text in page.locator("#flips-list li > :first-child").all_inner_texts()]


def tabs(page: Page) -> list[str]:
    return page.get_by_role("tab").all_inner_texts()


def pick(page: Page, place: int) -> None:
    page.locator("#flips-list li").nth(place).click()


def runs_at(page: Page, letter: str) -> Locator:
    return page.get_by_role("combobox", name=letter, exact=True)


def written(page: Page) -> list[str]:
    return page.locator(".flips-texts pre").all_inner_texts()


def chosen(page: Page) -> str:
    """The heading of the problem that is shown; the row marked in the list must be its own."""
    row = page.locator("#flips-list [aria-selected=true]")
    assert page.locator("#flips-list").get_attribute("aria-activedescendant") == (
        row.get_attribute("id")
    )
    heading = page.locator("#flips-problem h3").inner_text()
    assert heading == f"Problem {row.locator('> :first-child').inner_text()} of the group pens"
    return heading.split(" of ")[0]


def test_tabs_lists_and_texts(page: Page, artefacts: Path):
    assert tabs(page) == ["only A solved (59)", "only B solved (0)", "both (1)", "neither (6)"]
    assert rows(page) == list(range(2, 52))
    assert chosen(page) == "Problem 2"
    assert written(page) == ["full wrote case 1\n#### 7", "base wrote case 1"]
    assert page.locator(".flips-texts h4").all_inner_texts() == ["A: full", "B: baseline"]
    assert page.locator(".flips-texts h4 + p").all_inner_texts() == [
        "correct · stopped after its answer",
        "no final answer · ended by itself",
    ]
    expect(page.locator("#flips-others")).to_have_text(f"Other runs: no final answer – {EVIL_ARM}")
    page.locator("#flips").screenshot(path=artefacts / "flips-wide.png")

    page.get_by_role("tab", name="neither").click()
    assert rows(page) == list(range(61, 67))
    pick(page, 4)
    assert chosen(page) == "Problem 65"
    assert written(page) == ["full wrote case 64", "base wrote case 64"]
    page.locator("#flips").get_by_text("Gold solution").click()
    expect(page.get_by_label("Gold solution")).to_have_text("7*1=<<7*1=7>>7\n#### 7 ")
    expect(page.locator(".flips-gold")).to_have_text("Right answer: 7")
    page.get_by_role("tab", name="only B").click()
    expect(page.get_by_text("No such problem.")).to_be_visible()
    assert page.locator("#flips-problem").inner_text() == ""


def test_more_rows_on_demand(page: Page):
    page.get_by_role("button", name="Show 9 more").click()
    assert rows(page) == list(range(2, 61))
    expect(page.locator("#flips-more")).to_be_hidden()
    expect(page.get_by_role("listbox")).to_be_focused()


def test_choosing_what_is_compared(page: Page):
    page.get_by_label("Comparison").select_option(f"full − {EVIL_ARM} (method)")
    assert tabs(page) == ["only A solved (57)", "only B solved (4)", "both (3)", "neither (2)"]
    page.get_by_role("tab", name="only B").click()
    assert rows(page) == [61, 62, 63, 64]
    runs_at(page, "A").select_option("baseline")
    expect(page.locator("#flips-contrast option:checked")).to_have_text("own choice")
    assert tabs(page) == ["only A solved (0)", "only B solved (6)", "both (1)", "neither (59)"]
    assert rows(page) == [59, 60, 61, 62, 63, 64]
    assert written(page) == ["base wrote case 60", "lora wrote case 60\n#### 7"]  # still 61
    runs_at(page, "A").select_option("full")
    runs_at(page, "B").select_option("baseline")
    expect(page.locator("#flips-contrast option:checked")).to_have_text("full − baseline (method)")


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("QUESTION 1", [2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
        ("base wrote case 58", [59]),
        ("onerror=", [3]),
        ("lora wrote", []),
        ("(.*", []),
    ],
)
def test_search(page: Page, searched: str, found: list[int]):
    found = [number for number in found if number != 1]
    page.get_by_label("Search").fill(searched)
    assert rows(page) == found
    expect(page.get_by_role("status")).to_have_text(f"{len(found)} of 59 problems")
    marks = page.locator("#flips-problem mark").all_text_contents()
    assert {mark.lower() for mark in marks} == ({searched.lower()} if found else set())
    page.get_by_label("Search").fill("")
    assert len(rows(page)) >= 50


def test_text_is_never_markup(page: Page):
    assert rows(page)[1] == 3
    pick(page, 1)
    assert written(page)[1] == EVIL
    page.locator("#flips").get_by_text("Gold solution").click()
    assert EVIL in page.get_by_label("Gold solution").inner_text()
    runs_at(page, "B").select_option(EVIL_ARM)
    expect(page.locator(".flips-texts h4").last).to_have_text(f"B: {EVIL_ARM}")
    page.wait_for_timeout(50)  # for an image to fail and its handler to run
    assert page.locator("body img, #flips svg").count() == 0


def test_what_cannot_be_seen_is_spelled_out(page: Page):
    pick(page, 2)
    assert written(page)[1] == "evil[U+202E]txt[U+0007] [U+200B]end"
    pick(page, 4)
    style = "getComputedStyle(document.querySelectorAll('.flips-texts pre')[1], '::before').content"
    assert page.evaluate(style) == '"(empty)"'


def test_a_very_long_text_is_cut_until_asked_for(page: Page):
    pick(page, 3)
    box = page.get_by_label("B wrote")
    assert len(box.text_content() or "") == 5000
    page.get_by_role("button", name="Show all 1,040,000 characters").click()
    assert box.text_content() == LONG
    expect(page.get_by_text("The first 5,000 characters")).to_have_count(0)


def test_keyboard(page: Page):
    page.get_by_role("tab", name="only A").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="neither")).to_be_focused()
    expect(page.get_by_role("tab", name="neither")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    pressed = ["ArrowDown", "ArrowDown", "ArrowUp", "End", "ArrowDown", "Home", "ArrowUp"]
    expected = [3, 4, 3, 60, 60, 2, 2]  # End lies beyond the first rows
    for key, number in zip(pressed, expected, strict=True):
        page.keyboard.press(key)
        assert chosen(page) == f"Problem {number}"
        row, box = (
            page.locator(selector).bounding_box()
            for selector in ("#flips-list [aria-selected=true]", "#flips-list")
        )
        assert row is not None
        assert box is not None
        assert row["y"] >= box["y"] - 1
        assert row["y"] + row["height"] <= box["y"] + box["height"] + 1


def test_phone_and_dark(chromium: Browser, report: Path, artefacts: Path):
    page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    open_at_flips(page, report)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    above, below = (page.locator(".flips-texts pre").nth(place).bounding_box() for place in (0, 1))
    assert above is not None
    assert below is not None
    assert above["x"] == below["x"]
    assert above["y"] + above["height"] < below["y"]
    page.locator("#flips").screenshot(path=artefacts / "flips-phone-dark.png")
    page.close()


def test_without_javascript_and_on_paper(chromium: Browser, report: Path):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    expect(page.locator("#flips-note")).to_be_visible()
    expect(page.locator("#flips-browser")).to_be_hidden()
    assert EVIL not in page.locator("body").inner_text()
    page.emulate_media(media="print")
    expect(page.locator("#flips")).to_be_hidden()
    context.close()


def test_all_of_gsm8k_with_fifteen_runs(chromium: Browser, tmp_path: Path):
    """Nothing is timed here; what must stay small does: the rows that are laid out."""
    arms = {"full": "full"} | {f"arm-{number}": "full" for number in range(14)}
    report = reported(
        ExperimentFolder(tmp_path / "large"),
        arms,
        1319,
        lambda arm, number: (number * 7 + len(arm)) % 3 > 0,
        lambda arm, number: f"{arm} thinks of {number}. " + "Then we add them all up. " * 15,
    )
    page = chromium.new_page()
    complaints = watch(page)
    open_at_flips(page, report)
    counts = [int(tab.split("(")[1].rstrip(")")) for tab in tabs(page)]
    assert sum(counts) == 1319
    assert len(rows(page)) == 50
    page.get_by_label("Search").fill("thinks of 131")
    assert 0 < len(rows(page)) <= 11
    page.close()
    assert complaints == []
