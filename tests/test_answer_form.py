"""Accuracy that is of the form of answers is told at once: terminal, JSON, report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from by_hand import tables
from external_rows import GOLD, write
from inside import paribus
from paribus.analysis.findings import conclude, payload
from paribus.report.page import render

MARKED, SPOKEN, SILENT = "#### {}", "so I get {} in all, I think", "hard to say"
"""A final answer; the same number in prose, which only a lenient scorer takes; none."""


def file(folder: Path, name: str, form: str, wrong: int = 0, **more: Any) -> Path:
    """A file of answers to the twelve problems in this form, the first `wrong` of them wrong."""
    rows = [
        {**gold, "completion": form.format(0 if n < wrong else n + 1)} | more
        for n, gold in enumerate(GOLD)
    ]
    return write(folder / f"{name}.jsonl", rows)


def told(folder: Path, *words: object) -> tuple[dict[str, Any], str]:
    """What a program reads of a verb and what a person does."""
    done = paribus(*map(str, words), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    shown = paribus(*map(str, words), cwd=folder)
    return json.loads(done.stdout), shown.stdout


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (MARKED, None),
        (SPOKEN, "12 of 12 texts hold no final answer that the scorer recognises (12 ended "
         "without one); 12 that do not count end with the right number."),
        (SILENT, "12 of 12 texts hold no final answer that the scorer recognises (12 ended "
         "without one); 0 that do not count end with the right number."),
        ("", "12 of 12 texts hold no final answer"),
    ],
)  # fmt: skip
def test_a_file_without_the_expected_mark_is_told_when_scored(tmp_path, form, said):
    found, shown = told(tmp_path, "score", file(tmp_path, "x", form))
    if said is None:
        assert found["warnings"] == []
        assert "warning" not in shown
        return
    (warning,) = found["warnings"]
    assert warning.startswith(f"x: {said}")
    assert f"warning: {warning}" in shown


def test_a_style_that_was_asked_for_and_is_not_there(tmp_path):
    spoken = file(tmp_path, "x", "The answer is {}.")
    found, _ = told(tmp_path, "score", spoken, "--answer", "marked")
    (warning,) = found["warnings"]
    assert "12 that do not count end with the right number" in warning
    assert warning.endswith(
        "only answers of the style marked count, as asked; auto takes others too "
        "(evaluation.answer, --answer)."
    )
    assert told(tmp_path, "score", spoken)[0]["warnings"] == []


def test_the_same_answers_in_another_form_are_no_loss(tmp_path):
    """Twelve of twelve against none, p < 0.001, and not one answer is another."""
    pair = [file(tmp_path, name, form) for name, form in (("marked", MARKED), ("spoken", SPOKEN))]
    page = tmp_path / "report" / "index.html"
    found, shown = told(tmp_path, "compare", *pair, "--report", page)
    assert found["contrasts"][0]["verdict"] == "refuted"
    arm, contrast = found["warnings"]
    assert arm.startswith("spoken: 12 of 12 texts")
    assert contrast == (
        "What is shown rests on the form of the answers: by the last number of each text there is "
        "another verdict on spoken − marked."
    )
    assert (
        "spoken − marked: by the last number of each text (flexible) the difference is not shown: "
        "0 points [" in shown
    )
    assert "B higher *" in shown
    for warning in found["warnings"]:
        assert f"warning: {warning}" in shown
    text = page.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert text.index("Read this before the figures.") < text.index("<h2>Findings</h2>")
    assert arm.partition(";")[0] in text


def test_a_verdict_that_the_flexible_scorer_turns_round(tmp_path):
    pair = [
        file(tmp_path, "marked", MARKED, wrong=6),
        file(tmp_path, "spoken", SPOKEN),
    ]
    found, _ = told(tmp_path, "compare", *pair)
    (contrast,) = found["contrasts"]
    assert contrast["verdict"] == "refuted"
    turned = "by the last number of each text (flexible) the order is reversed: +50 points ["
    assert any(caveat.startswith(turned) for caveat in contrast["caveats"])
    assert found["warnings"][-1].endswith("there is another verdict on spoken − marked.")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("1" * 10 + "n" * 10, False),
        ("1" * 9 + "n" * 11, True),
        ("0" * 9 + "c" * 6 + "x" * 5, True),
        ("1" * 18 + "ff", True),  # a tenth right and not counted
        ("1" * 19 + "f", False),
        ("0" * 20, False),
        ("1" * 20, False),
    ],
)
def test_which_arms_are_named(row, named):
    assert bool(conclude(tables({"full": [row]})).warnings) == named


def test_one_seed_of_three_that_lost_the_form_is_named():
    said, far = conclude(
        tables({"full": ["1" * 20, "f" * 20, "1" * 20], "lora": ["1" * 20]})
    ).warnings
    assert far.startswith("full, seed 1, solves 0 % where its other seeds solve 100 % and 100 %")
    # Twenty of sixty texts end with the right number and do not count.
    assert said.startswith("full: 20 of 60 texts hold no final answer")
    said, _ = conclude(tables({"full": ["1" * 20, "n" * 20, "1" * 20]})).warnings
    assert said.startswith("full seed 1: 20 of 20 texts hold no final answer")


def stating(made: str, own: dict[str, list[bool | None]]) -> list[str]:
    """The warnings on a run that solves as in `made` and whose file says `own` of its texts."""
    of_run = tables({"full": [made]})
    run = replace(of_run.runs[0], stated={key: tuple(said) for key, said in own.items()})
    return conclude(replace(of_run, runs=(run,))).warnings


ALL, NONE, HALF = [True] * 40, [False] * 40, [True] * 20 + [False] * 20


@pytest.mark.parametrize(
    ("row", "own", "said"),
    [
        ("1" * 40, {"": ALL}, []),
        ("1" * 20 + "0" * 20, {"strict-match": HALF, "flexible-extract": HALF}, []),
        # A filter of lm-eval's GSM8K is repeated text by text: one other verdict is too many.
        (
            "1" * 40,
            {"strict-match": [*ALL[:-1], False]},
            ["full: its own exact_match (strict-match) differs from the strict scorer on 1 of 40"],
        ),
        # What another task's filter says is compared as a share, beyond chance.
        ("1" * 39 + "0", {"get-answer": ALL}, []),
        ("1" * 40, {"": [None] * 39 + [False]}, []),
        (
            "1" * 20 + "0" * 20,
            {"get-answer": ALL},
            ["full: its own exact_match says 100 % (get-answer), the canonical scorer 50 %."],
        ),
        ("1" * 20 + "0" * 20, {"": ALL}, ["full: its own exact_match says 100 %, the canonical"]),
        (
            "1" * 40,
            {"a": NONE, "b": HALF},
            ["full: its own exact_match says 0 % (a) and 50 % (b), the canonical scorer 100 %."],
        ),
        # One of its filters says the same as we do.
        ("1" * 40, {"a": NONE, "b": ALL}, []),
    ],
)
def test_what_a_file_says_of_itself(row, own, said):
    found = stating(row, own)
    assert len(found) == len(said), found
    for text, expected in zip(found, said, strict=True):
        assert text.startswith(expected)


@pytest.mark.parametrize("value", [1, 1.0, True])
@pytest.mark.parametrize("form", [MARKED, SILENT])
def test_exact_match_is_read_from_rows(tmp_path, value, form):
    """As lm-eval writes it, and in rows of others."""
    found, _ = told(tmp_path, "score", file(tmp_path, "x", form, exact_match=value))
    differ = [each for each in found["warnings"] if "exact_match says 100 %" in each]
    assert bool(differ) == (form == SILENT)


@pytest.mark.parametrize("value", ["1.0", None, 0.5, [1], {"a": 1}])
def test_what_is_no_verdict_says_nothing(tmp_path, value):
    found, _ = told(tmp_path, "score", file(tmp_path, "x", SILENT, exact_match=value))
    assert len(found["warnings"]) == 1


def test_warnings_are_in_findings_and_escaped_on_the_page():
    made = tables({"<i>full": ["n" * 20]})
    found = conclude(made)
    assert payload(found)["warnings"] == found.warnings
    page = render(found)
    assert "&lt;i&gt;full: 20 of 20 texts hold" in page.replace("\u00a0", " ")
    assert "<i>full" not in page
