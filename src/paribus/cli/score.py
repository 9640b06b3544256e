"""`paribus score FILE`, `paribus compare FILE FILE...`: generations made anywhere, judged.

Same scorers, tests and report as for paribus's own experiments; no model, no torch.
"""

import gc
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from paribus.analysis.elsewhere.asked import way_of
from paribus.analysis.elsewhere.external import Collected, collect
from paribus.analysis.elsewhere.repeats import ArmFlags
from paribus.analysis.elsewhere.ways import Way
from paribus.analysis.findings import conclude, payload
from paribus.cli.console import PlainConsole
from paribus.errors import UserError
from paribus.files import write_text
from paribus.records import Measure
from paribus.report.target import check_target
from paribus.report.terminal import remarks, summary_table
from paribus.statistics.equivalence import margin_of
from paribus.store.runs import writing

_ARM = ("name", "n", "scores", "outcomes", "answers", "signals")
_CONTRAST = (
    *("a", "b", "seeds", "scope", "n", "only_a", "only_b", "difference", "interval"),
    *("p_value", "p_holm", "detectable", "detectable_range", "split", "verdict"),
    *("equivalence", "reason", "sentence", "explained_by"),
    *("caveats", "machines", "answered"),
)
"""Of the values in findings.json, those that `--json` prints."""


def from_options(options: Namespace) -> int:
    """Run `paribus score` or `paribus compare`."""
    if options.loss and options.margin is not None:
        raise UserError("--margin is in points, which a loss has none of", "leave it out")
    flags = ArmFlags(
        untuned=tuple(options.untuned),
        seeds_are_runs=options.seeds_are_runs,
        paired_seeds=options.paired_seeds,
        margin=None if options.margin is None else margin_of(options.margin),
    )
    return score(
        [options.file, *options.others],
        gold=options.gold,
        common=options.common,
        flags=flags,
        way=way_of(
            [options.file, *options.others],
            task=options.task,
            metric=options.metric,
            loss=options.loss,
            style=options.answer,
            group_by=options.group_by,
        ),
        page=options.report,
        as_json=options.json,
    )


def score(
    files: Sequence[str],
    *,
    gold: Path | None,
    common: bool,
    flags: ArmFlags,
    way: Way,
    page: Path | None,
    as_json: bool,
) -> int:
    """Print what `files` (`FILE` or `NAME=FILE`) score and how they differ.

    Every pair of arms is compared, the later one as A. The report is written to `page`, if given.
    Raises StoreError if that would replace anything but an earlier report.
    """
    if page is not None:
        check_target(page)
    collected = collect(files, gold=gold, common=common, flags=flags, way=way)
    gc.freeze()  # what was read stays: no collection is to look through a million objects
    analysis = conclude(collected.tables)
    analysis = replace(analysis, limits=[*analysis.limits, *collected.notes])
    findings = payload(analysis, signals=as_json)
    if as_json:
        print(json.dumps(_json(collected, findings), indent=2, allow_nan=False))
    # A program reads stdout then; what is for people goes to stderr.
    console = PlainConsole(highlight=False, soft_wrap=True, stderr=as_json)
    if not as_json:
        console.print(summary_table(findings))
    for remark in remarks(findings):
        console.print(remark)
    for line in (*collected.tables.missing, *collected.notes):
        console.print(f"[yellow]note:[/] {escape(line)}")
    if page is not None:
        # Imported here: only a page needs matplotlib, which is slow to import.
        from paribus.report.page import render

        with writing(page):
            write_text(page, render(analysis))
        console.print(f"report: {escape(str(page))}")
    return 0


def _json(collected: Collected, findings: dict[str, Any]) -> dict[str, Any]:
    """The contract of `--json`: an entry for each run, with its `seed` where there are several."""
    runs = collected.tables.runs
    keys = (*_ARM, "seed") if len({run.seed for run in runs}) > 1 else _ARM
    # What is compared is named where that is not problems solved.
    measure = () if collected.tables.measure is Measure.SOLVED else ("measure",)
    record = {
        "arms": [
            {key: arm[key] for key in keys}
            for arm, run in zip(findings["arms"], runs, strict=True)
            if run.complete
        ],
        "contrasts": [
            {key: contrast[key] for key in (*_CONTRAST, *measure)}
            for contrast in findings["contrasts"]
        ],
        "answer": findings["answer"],
        "speaks_of": findings["speaks_of"],
        "warnings": findings["warnings"],
        "notes": list(collected.notes),
    }
    if any(file.faulty for file in collected.left_out):
        record["left_out"] = [asdict(file) for file in collected.left_out]
    return record
