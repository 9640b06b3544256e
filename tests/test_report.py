"""The report is whole, safe and made from whatever the store holds."""

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from paribus.files import read_json
from paribus.records import Generation, Stop
from paribus.report import svg
from paribus.report.page import write_report
from paribus.report.terminal import summary_table
from paribus.report.units import count, duration, gib, rounded
from paribus.store import runs
from paribus.store.experiments import write_description
from paribus.store.layout import ExperimentFolder

EVIL = "</pre></script><img src=x onerror=alert(1)><svg/onload=alert(2)> & {{ 7 * 7 }} \u202e"
ARMS = {"baseline": "none", "full-main": "full", "lora-main": "lora"}
VOID = {"meta", "img", "br", "hr", "input", "link"}


def training(loss: float) -> dict[str, object]:
    return {
        "steps": 16,
        "examples": 128,
        "seconds": 61.0,
        "examples_per_second": 2.1,
        "target_tokens_per_second": 150.2,
        "padding_share": 0.08,
        "peak_memory_bytes": 4 * 2**30,
        "first_loss": 2.3,
        "final_loss": loss,
        "trainable_parameters": 3_796_992,
        "total_parameters": 271_895_168,
        "dropped_too_long": 0,
    }


def describe(folder: ExperimentFolder, *, seeds: int = 1, question: str = "Full or LoRA?") -> None:
    write_description(
        folder,
        {
            "format": 1,
            "config": {
                "name": "small",
                "question": question,
                "hypothesis": "Full wins.",
                "seeds": seeds,
                "training": {"learning_rate": 1e-5, "epochs": 1.0},
            },
            "origins": {"name": "x.yaml:1", "training": "configs/base.yaml:12"},
            "arms": [
                {"name": name, "factors": {"method": method}, "identity": {"method": method}}
                for name, method in ARMS.items()
            ],
            "contrasts": [
                {"a": "full-main", "b": "baseline", "factor": "tuning"},
                {"a": "full-main", "b": "lora-main", "factor": "method"},
            ],
        },
    )


def finish(
    folder: ExperimentFolder, arm: str, solved: int, *, n: int = 10, seed: int = 0, text: str = ""
) -> None:
    """Complete a run that solves the first `solved` of `n` problems; the others write `text`."""
    run, trained = folder.run(arm, seed), arm != "baseline"
    runs.begin(run, {"fingerprint": "f"})
    for step in range(1, 17) if trained else ():
        event = {"event": "step", "step": step, "loss": 2 / step, "target_tokens": 10}
        runs.append_event(run, event)
    generations = [
        Generation(
            problem_id=f"{number:016x}",
            question=f"How many? {text}",
            answer="7",
            prompt_sha256="0" * 64,
            text="#### 7\n" if number < solved else text or "#### 8\n",
            num_tokens=5,
            stop=Stop.STOP_TOKEN,
        )
        for number in range(n)
    ]
    runs.write_generations(run, "one_shot", generations)
    result = {
        "training": training(0.4) if trained else None,
        "evaluation": {"protocol": "one_shot", "problems": n, "seconds": 24.0},
        "data": {"train_problems": 128, "test_problems": n, "overlap": 0},
        "precision": {"compute": "bf16", "trainable": "fp32"},
        "weights_note": "dequantised from q4_k_m: not Google's original weights",
        "environment": {"torch": "2.13.0", "machine": "2 cores"},
    }
    runs.finish(run, result)


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    made = ExperimentFolder(tmp_path / "small")
    describe(made)
    return made


def complete(folder: ExperimentFolder) -> ExperimentFolder:
    finish(folder, "baseline", 1)
    finish(folder, "full-main", 8)
    finish(folder, "lora-main", 6)
    return folder


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
        "80 % [49.0 to 94.3]",
        "1 / 7 / 0 / 2",
        "0.016",
        "3.8 M of 272 M",
        "1 min 1 s",
        "dequantised from q4_k_m: not Google's original weights",
        "configs/base.yaml:12",
        "One seed: a verdict speaks of these trained models",
    ):
        assert expected in text
    assert [tag for tag, _ in page.tags].count("svg") == 4
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_the_page_loads_nothing_and_runs_nothing(folder):
    raw = write_report(complete(folder)).read_text(encoding="utf-8")
    page = Page(raw)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert page.names().isdisjoint({"script", "link", "img", "iframe", "object", "form", "a"})
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
    describe(folder, question=EVIL)
    for arm in ARMS:
        finish(folder, arm, 1, text=EVIL)
    raw = write_report(folder).read_text(encoding="utf-8")
    assert "<img" not in raw
    assert "<svg/" not in raw
    assert "&lt;img src=x onerror=alert(1)&gt;" in raw
    page = Page(raw)
    assert page.names().isdisjoint({"script", "img"})
    assert "{{ 7 * 7 }}" in page.text
    strict_json(folder.findings)


def test_names_in_figures_are_escaped():
    with svg.style("evil"):
        figure = Figure()
        figure.add_subplot().set_xlabel("<b>$x$ & y")
        drawn = svg.to_svg(figure, "evil", '"><script>')
    assert "&lt;b&gt;$x$ &amp; y" in drawn
    assert "<script" not in drawn


def test_the_same_store_gives_the_same_bytes(folder):
    first = write_report(complete(folder)).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_what_is_missing_is_said(folder):
    finish(folder, "baseline", 1)
    runs.begin(folder.run("full-main", 0), {"fingerprint": "f"})
    runs.fail(folder.run("full-main", 0), "OutOfMemory: <8 GiB> wanted", "traceback")
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "Not everything was run." in text
    assert "full-main, seed 0: failed: OutOfMemory: <8 GiB> wanted" in text
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
    for arm in ARMS:
        finish(folder, arm, solved, n=n)
    raw = write_report(folder).read_text(encoding="utf-8")
    Page(raw)
    assert not re.search(r"\bnan\b", raw, re.IGNORECASE)
    strict_json(folder.findings)


def test_several_seeds(folder):
    describe(folder, seeds=3)
    finish(folder, "baseline", 1)
    for seed in range(3):
        finish(folder, "full-main", 7 + seed, seed=seed)
        finish(folder, "lora-main", 6, seed=seed)
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "full-main − lora-main, seed 2" in text
    assert "no test is made" in text
    assert "+20+10\u00a0to\u00a0+303" in text  # mean, smallest to largest, seeds


def test_terminal_table_fits_eighty_columns(folder):
    describe(folder, seeds=2)
    complete(folder)
    write_report(folder)
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(read_json(folder.findings)))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "8 of 10" in shown
    assert "A better" in shown
    assert "not run" in shown
    assert "not compared" in shown


def test_units():
    assert [duration(each) for each in (None, 0.25, 61.2, 7384, 45)] == [
        "–",
        "0.2 s",
        "1 min 1 s",
        "2 h 3 min",
        "45 s",
    ]
    assert (count(1319), rounded(150.2), rounded(2.134), gib(2**30)) == (
        "1,319",
        "150",
        "2.13",
        "1",
    )
