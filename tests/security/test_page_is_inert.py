"""The report shows what models, data, stores and failures say; none of it becomes markup or code.

The same experiment is reported twice: once with plain texts, once with hostile ones in every
place that a text can reach the page from. Both pages must have the same elements.
"""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from external_rows import write
from paribus.cli.main import main
from paribus.report.page import write_report
from paribus.store.experiments import read_description, write_description
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import write_manifest
from paribus.untrusted import printable
from stores import complete, describe, failed

EVIL = (
    "</script></style></title><img src=x onerror=alert(1)><svg onload=alert(2)>"
    "\" onmouseover=alert(3) ' & {{ 7 * 7 }} {% raw %} <!-- ]]> javascript:alert(4) "
    "\u2028\u2029\x1b[2J\x9b\x00\u202e \ud800 \udfff"
)
IN_YAML = EVIL.replace("\x00", "").replace("\ud800 \udfff", "")
"""What the description can hold: YAML has no NUL and no half pairs."""
ARM = "<img src=x onerror=alert(5)>'\""
"""A folder's name may be this."""


SVG = {"g", "path", "text", "defs", "use", "rect", "clippath", "svg", "title", "tspan"}


class Elements(HTMLParser):
    """Every element of a page with the names of its attributes, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, ...]] = Counter()
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[(tag, *(name for name, _ in attrs))] += 1
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data


def spoiled(value: Any, kept: tuple[str, ...], evil: str) -> Any:
    """Return `value` with `evil` behind every text in it, but for those under a key in `kept`."""
    if isinstance(value, dict):
        return {
            key: inner if key in kept else spoiled(inner, kept, evil)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [spoiled(inner, kept, evil) for inner in value]
    return value + evil if isinstance(value, str) else value


def experiment(root: Path, evil: str, in_yaml: str, arm: str) -> ExperimentFolder:
    folder = ExperimentFolder(root / "small")
    describe(
        folder,
        {"baseline": "none", "full-main": "full", "lora-main": "lora", arm: "lora"},
        [("full-main", "baseline", f"tuning{in_yaml}"), ("full-main", arm, "method")],
        origins={"name": f"x.yaml:1{in_yaml}"},
        identity={"model": f"m{in_yaml}"},
        name=f"small{in_yaml}",
        question=f"Which? {in_yaml}",
        hypothesis=f"This. {in_yaml}",
        more={"key": in_yaml},
    )
    described = read_description(folder)
    described.arms[1].factors["note"] = in_yaml
    write_description(folder, described)
    complete(folder)
    for run in folder.runs():
        for file in run.path.glob("generations/*.jsonl"):
            rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            write(file, [spoiled(row, ("stop", "answer", "group"), evil) for row in rows])
        result = json.loads(run.result.read_text("utf-8"))
        run.result.write_text(json.dumps(spoiled(result, ("protocol",), evil)))
        write_manifest(run)
    failed(folder.run(arm, 0), f"It broke. {evil}", evil)
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    # Both end with the same number, so that the flexible scorer, and what is warned of, are alike.
    texts = {"plain": (" 2", "", "other"), "evil": (EVIL, IN_YAML, ARM)}
    found = {}
    for kind, (evil, in_yaml, arm) in texts.items():
        page = write_report(experiment(tmp_path_factory.mktemp(kind), evil, in_yaml, arm))
        found[kind] = page.read_bytes().decode()
    return found


def test_hostile_texts_add_no_element_and_no_attribute(pages: dict[str, str]) -> None:
    plain, evil = Elements(pages["plain"]), Elements(pages["evil"])
    assert set(evil.found) == set(plain.found)
    for tags, count in evil.found.items():  # but for figures, whose labels have their places
        assert count == plain.found[tags] or tags[0] in SVG, tags
    assert evil.found[("script",)] == evil.found[("script", "type", "id")] == 1
    assert not any(name.startswith("on") for tags in evil.found for name in tags[1:])


def test_the_texts_are_there_and_can_be_seen(pages: dict[str, str]) -> None:
    page = pages["evil"]
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 20
    assert "&lt;img src=x onerror=alert(5)&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert r"\x1b[2J\x9b" in page
    assert r"\ud800 \udfff" in page
    assert printable(page) == page  # nothing hidden and nothing that turns the text around it


def test_the_scripts_are_ours_and_json(pages: dict[str, str]) -> None:
    (plain_data, plain_code), (data, code) = (
        Elements(pages[kind]).scripts for kind in ("plain", "evil")
    )
    assert code == plain_code
    assert len(data) > len(plain_data)
    assert not set("<>&\u2028\u2029") & set(data)
    texts = json.loads(data)["texts"]
    assert any(text.endswith(EVIL) for text in texts)  # what a model wrote is kept as it is


def test_the_policy_allows_no_more_than_the_page_needs(pages: dict[str, str]) -> None:
    policy = pages["evil"].partition('Content-Security-Policy" content="')[2].partition('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script = rules.pop("script-src")
    assert script.startswith("'sha256-")
    assert script.count("'") == 2
    assert rules == {
        "default-src": "'none'",  # no request, no frame, no font, no connection
        "style-src": "'unsafe-inline'",  # figures set style attributes
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "<img" not in pages["plain"]
    assert "url(" not in pages["plain"].replace("url(#", "")  # clip paths of the figures


def test_findings_are_json_whatever_was_written(tmp_path: Path) -> None:
    page = write_report(experiment(tmp_path, EVIL, IN_YAML, ARM))
    text = (page.parent / "findings.json").read_bytes().decode()
    assert json.loads(text)["question"] == f"Which? {IN_YAML}"


def test_files_made_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"question": f"{n} {EVIL}", "answer": "7", "completion": EVIL, "group": EVIL}
        for n in range(3)
    ]
    one, other = (write(tmp_path / name, rows) for name in ("<blink>one.jsonl", "</script>.jsonl"))
    page = tmp_path / "page.html"
    assert main(["compare", str(one), f"<blink>\x1b[2J={other}", "--report", str(page)]) == 0
    found = Elements(page.read_bytes().decode())
    assert not {"img", "blink"} & {tags[0] for tags in found.found}
    assert found.found[("script",)] == 1
    assert "\x1b" not in capsys.readouterr().out
