"""`paribus baseline MODEL …`: what models solve before any tuning, and which leave headroom."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.analysis.headroom import ProtocolScore, judge_headroom, read_scores
from paribus.cli.console import PlainConsole
from paribus.cli.display import Display
from paribus.config.load import Loaded, load, typed
from paribus.config.schema import ExperimentConfig
from paribus.config.task_file import task_of
from paribus.data.problems import ProblemSet, load_problems
from paribus.design.matrix import expand
from paribus.errors import RunFailed, UserError
from paribus.evaluation.scorers import scorers_of
from paribus.evaluation.scoring import check_correct
from paribus.planning.foresight import ASSUMED, Foresight, foresee
from paribus.records import Measure
from paribus.report.units import mean_cell, mean_heading
from paribus.running.untuned import BASELINES, Candidate, plan_models, run_models
from paribus.statistics.intervals import Interval
from paribus.statistics.power import problems_needed
from paribus.stopping import enduring
from paribus.store.layout import ExperimentFolder

DIFFERENCE = 0.05
"""Of interest where no hypothesis names a size."""
PROBLEMS = 200
"""Asked where neither an experiment nor `--problems` says how many."""
SOURCES = ("gsm8k", "wordproblems", "gsm8k_swapped")


def from_options(options: Namespace) -> int:
    """Run `paribus baseline`."""
    return baseline(
        options.words,
        options.runs,
        data=options.data,
        task=options.task,
        problems=options.problems,
        protocols=options.protocols,
        experiment=options.experiment,
        as_json=options.json,
    )


def baseline(
    words: Sequence[str],
    root: Path,
    *,
    data: str | None,
    task: str | None,
    problems: int | None,
    protocols: str | None,
    experiment: Path | None,
    as_json: bool,
) -> int:
    """Test the models among `words` (the others are `key=value`) and print what they leave to show.

    With `experiment` all values are that file's, and the models too if none is named; else `data`
    or `task` names the problems. Raises UserError if no model could be tested, RunFailed if one
    could not.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    models = [word for word in words if "=" not in word]
    values = [word for word in words if "=" in word]
    size = [] if problems is None else [f"data.test_size={problems}"]
    if sum(given is not None for given in (data, task, experiment)) > 1:
        raise UserError(
            "--data, --task and --experiment each say which problems are asked",
            "give one of them; task=… changes what an experiment file says",
        )
    if experiment is None:
        if not models:
            remedy = "add one to the command: gemma-3-270m, a folder or a Hub id"
            raise UserError("no model is named", remedy)
        sized = size or any(value.startswith("data.test_size=") for value in values)
        source = _source(data) if task is None else _of_task(task, values, sized=bool(sized))
        whole = tested = typed([*source, *size, *values], BASELINES)
    else:
        whole, tested = load(experiment, values), load(experiment, [*values, *size])
    foreseen = _foresee(whole)
    read = _problems(tested.config).read  # what is wrong with them is no model's fault
    if tested.config.task.scores_numbers:
        check_correct(read)
    asked = [name.strip() for name in protocols.split(",")] if protocols is not None else []
    # A program reads stdout then; what is for people goes to stderr.
    console = PlainConsole(
        file=enduring(sys.stderr if as_json else sys.stdout),
        highlight=False,
        soft_wrap=True,
    )
    with console.status("fetching weights, checking prompts"):
        planned = plan_models(tested, models, asked)
    runs = [run for candidate in planned for run in candidate.runs]
    with Display(console, BASELINES, runs) as display:
        failed = run_models(planned, tested, root, display)
    rows = [_row(candidate, failed, root, foreseen) for candidate in planned]
    if as_json:
        record = {
            "problems": foreseen.design.n,
            "difference": foreseen.claimed or DIFFERENCE,
            "candidates": rows,
        }
        print(json.dumps(record, indent=2, allow_nan=False))
    else:
        _show(planned, rows, console)
    return _end(rows)


def _problems(config: ExperimentConfig) -> ProblemSet:
    return load_problems(task_of(config), config.data, config.seed)


def _source(data: str | None) -> list[str]:
    """Return the values that say which problems `--data` names."""
    if data in SOURCES:
        # Generated problems have no end, and an untuned model learns from none.
        sizes = ["data.train_size=1"] if data == "wordproblems" else []
        return [f"task={data}", f"data.test_size={PROBLEMS}", *sizes]
    if data is None or not Path(data).is_dir():
        text = "--data is not given" if data is None else f"--data {data} is not a folder"
        raise UserError(
            text,
            f"give {', '.join(SOURCES)}, or a folder with train.jsonl and test.jsonl; another task "
            "by --task FILE",
        )
    path = f"data.path={json.dumps(data)}"
    return ["task=gsm8k", f"data.test_size={PROBLEMS}", path]


def _of_task(task: str, values: Sequence[str], *, sized: bool) -> list[str]:
    """Return the values that say which problems of `task` are asked.

    Unless they are `sized`, `PROBLEMS` of them, or all if it has no more.
    """
    if task in SOURCES:
        return _source(task)
    named = f"task={json.dumps(task)}"
    if sized:
        return [named]
    size = f"data.test_size={PROBLEMS}"
    config = typed([named, size, *values], BASELINES).config
    drawn = load_problems(task_of(config), config.data, config.seed, or_fewer=True).test
    return [named, f"data.test_size={min(len(drawn), PROBLEMS)}"]


def _foresee(whole: Loaded) -> Foresight:
    """Return what the experiment can show. Raises UserError if that is nothing at all."""
    config = whole.config
    if config.task.measures_loss:
        raise UserError(
            "no model can be judged: this task measures held-out loss, which has no end to reach",
            "name a task with another metric",
        )
    foresight = foresee(
        n=len(_problems(config).test),
        seeds=config.seeds,
        comparisons=expand(whole).comparisons,
        looks=config.looks or (),
        hypothesis=config.hypothesis,
    )
    if foresight.detectable is None:
        raise UserError(f"no model can be judged: {foresight.sentence}", _more(foresight))
    return foresight


def _more(foreseen: Foresight) -> str:
    """Return how many problems would show the difference of interest, in words."""
    difference = foreseen.claimed or DIFFERENCE
    needed = problems_needed(foreseen.design, ASSUMED, difference)
    if needed is None:
        return "change seeds: no number of problems is enough"
    return f"test {needed:,} problems: so many show {100 * difference:g} points; or change seeds"


def _row(
    candidate: Candidate, failed: Mapping[str, str], root: Path, foreseen: Foresight
) -> dict[str, Any]:
    """Return what is known of one model: the contract of `--json`."""
    folder = ExperimentFolder(root / BASELINES)
    tested = [
        score
        for run in candidate.runs
        for score in read_scores(folder.of(run), scorers_of(run.config.task))
    ]
    errors = [*candidate.errors, *(failed[r.arm] for r in candidate.runs if r.arm in failed)]
    judged = (
        judge_headroom(tested, foreseen.design, foreseen.claimed or DIFFERENCE) if tested else None
    )
    return {
        "model": candidate.model,
        "protocols": [_protocol(score) for score in tested],
        "best_protocol": judged and judged.best.protocol,
        "verdict": judged.verdict if judged else "not run",
        "reason": judged.reason if judged else "; ".join(candidate.skipped) or None,
        "detectable": judged and judged.detectable,
        "problems_needed": judged and judged.problems_needed,
        "error": "\n".join(dict.fromkeys(errors)) or None,
    }


def _protocol(tested: ProtocolScore) -> dict[str, Any]:
    return {
        "protocol": tested.protocol,
        **({} if tested.solved is None else {"solved": tested.solved}),
        "n": tested.n,
        ("mean" if tested.solved is None else "accuracy"): tested.accuracy,
        "low": tested.interval.low,
        "high": tested.interval.high,
    }


def _show(planned: Sequence[Candidate], rows: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    binary = all("accuracy" in tested for row in rows for tested in row["protocols"])
    measure = Measure.SOLVED if binary else Measure.SCORE
    for heading in ("model", "protocol", *["solved"] * binary, mean_heading(measure)):
        table.add_column(heading, overflow="fold")
    for row in rows:
        for tested in row["protocols"]:
            interval = Interval(tested["low"], tested["high"])
            counted = [f"{tested['solved']} of {tested['n']}"] if binary else []
            mean = mean_cell(tested["accuracy" if binary else "mean"], interval, measure)
            table.add_row(escape(row["model"]), tested["protocol"], *counted, mean)
    if table.row_count:
        console.print(table)
    for candidate, row in zip(planned, rows, strict=True):
        name = f"[bold]{escape(row['model'])}[/]"
        console.print(
            f"\n{name}: {row['verdict']}" + (f"; {row['reason']}" if row["reason"] else "")
        )
        if row["protocols"]:
            for line in candidate.skipped:
                console.print(f"  not under {line}")
        if row["error"]:
            console.print(f"  [red]failed[/] {escape(row['error'])}")


def _end(rows: Sequence[dict[str, Any]]) -> int:
    """Return 0 if all went well; raise what the exit code follows from otherwise."""
    remedy = "fix what is named above, then give the same command again"
    if all(row["verdict"] == "not run" for row in rows):
        raise UserError("no model could be tested", remedy)
    faulty = sum(row["error"] is not None for row in rows)
    if faulty:
        raise RunFailed(f"{faulty} of {len(rows)} models could not be tested in full", remedy)
    return 0
