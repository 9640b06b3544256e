"""The report is whole, safe and made from whatever the store holds."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from paribus.report import drawing
from paribus.report.page import write_report
from paribus.store.layout import ExperimentFolder
from stores import TRAINED, complete, describe_trained, failed, finish_trained

EVIL = "</pre></script><img src=x onerror=alert(1)><svg/onload=alert(2)> & {{ 7 * 7 }} \u202e"
VOID = {"meta", "img", "br", "hr", "input", "link"}


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    made = ExperimentFolder(tmp_path / "small")
    describe_trained(made)
    return made


class Page(HTMLParser):
    """Checks nesting and collects what a browser would load, run or show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def scripts(page: Page) -> list[str | None]:
    """Types of the page's scripts: the data of the flips browser, and the script it is for."""
    return [attributes.get("type") for tag, attributes in page.tags if tag == "script"]


def strict_json(path: Path) -> dict[str, object]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_page_says_what_was_found(folder):
    page = Page(write_report(complete(folder)).read_text(encoding="utf-8"))
    text = page.text.replace("\u00a0", " ")
    for expected in (
        "Full or LoRA?",
        "Expected beforehand: Full wins.",
        "full-main (80 %) solves more of the 10 test problems than the untuned model (10 %).",
        "8 of 10",
        "80 % [44.4 to 97.5]",  # Clopper and Pearson, 8 of 10
        "1 / 7 / 0 / 2",
        "0.0160.031",  # McNemar's exact p, 2 / 2^7, and corrected for two comparisons
        "3.8 M of 272 M",
        "1 min 1 s",
        "dequantised from q4_k_m: not Google's original weights",
        "configs/base.yaml:12",
        "One seed: a verdict speaks of these trained models",
    ):
        assert expected in text
    assert [tag for tag, _ in page.tags].count("svg") == 5
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_the_page_loads_nothing_and_runs_one_script(folder):
    raw = write_report(complete(folder)).read_text(encoding="utf-8")
    page = Page(raw)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'; style-src 'unsafe-inline'; base-uri" in policy
    assert page.names().isdisjoint({"link", "img", "iframe", "object", "form", "a"})
    assert scripts(page) == ["application/json", None]
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\((?!#)", raw)


def test_ids_are_unique_and_references_resolve(folder):
    page = Page(write_report(complete(folder)).read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"] for _, a in page.tags if "xlink:href" in a}
    assert {str(reference).removeprefix("#") for reference in used} <= set(ids)


def test_text_of_models_and_files_is_escaped(folder):
    describe_trained(folder, question=EVIL)
    for arm in TRAINED:
        finish_trained(folder, arm, 1, text=EVIL)
    raw = write_report(folder).read_text(encoding="utf-8")
    assert "<img" not in raw
    assert "<svg/" not in raw
    assert "&lt;img src=x onerror=alert(1)&gt;" in raw
    page = Page(raw)
    assert "img" not in page.names()
    assert scripts(page) == ["application/json", None]
    assert "{{ 7 * 7 }}" in page.text
    strict_json(folder.findings)


def test_names_in_figures_are_escaped():
    with drawing.style("evil"):
        figure = Figure()
        figure.add_subplot().set_xlabel("<b>$x$ & y")
        drawn = drawing.to_svg(figure, "evil", '"><script>')
    assert "&lt;b&gt;$x$ &amp; y" in drawn
    assert "<script" not in drawn


def test_the_same_store_gives_the_same_bytes(folder):
    first = write_report(complete(folder)).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_what_is_missing_is_said(folder):
    finish_trained(folder, "baseline", 1)
    failed(folder.run("full-main", 0), "OutOfMemory: <8 GB> wanted")
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "Not everything was run." in text
    assert "full-main, seed 0: failed: OutOfMemory: <8 GB> wanted" in text
    assert "lora-main, seed 0: not run." in text
    assert "No two arms could be compared." in text
    found = strict_json(folder.findings)
    assert len(found["missing"]) == 2  # type: ignore[arg-type]


def test_nothing_was_run(folder):
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "svg" not in page.names()
    assert "baseline, seed 0: not run." in page.text


@pytest.mark.parametrize(("solved", "n"), [(0, 10), (10, 10), (1, 1), (0, 1), (0, 0)])
def test_extremes(folder, solved, n):
    for arm in TRAINED:
        finish_trained(folder, arm, solved, n=n)
    raw = write_report(folder).read_text(encoding="utf-8")
    Page(raw)
    assert not re.search(r"\bnan\b", raw, re.IGNORECASE)
    strict_json(folder.findings)


def test_several_seeds(folder):
    describe_trained(folder, seeds=4)
    finish_trained(folder, "baseline", 1, n=40)
    for seed in range(3):
        finish_trained(folder, "full-main", 27 + seed, n=40, seed=seed)
    for seed in range(2):
        finish_trained(folder, "lora-main", 20, n=40, seed=seed)
    text = Page(write_report(folder).read_text(encoding="utf-8")).text.replace("\u00a0", " ")
    assert "full-main3 of 470 % [" in text
    assert "]2.5\n" in text
    assert "lora-main2 of 450 %0.0" in text
    assert "No interval for lora-main: 2 seeds are too few" in text
    assert "full-main − lora-main+17.5, +20" in text  # seed by seed
    assert "Run by run" in text
    assert "full-main, seed 227 of 40" not in text
    assert "full-main, seed 229 of 40" in text
    assert "full-main, seed 3–not run" in text
