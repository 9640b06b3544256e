"""The command line: every verb, its arguments and their help.

    parser().parse_args(["plan", "x.yaml", "--device", "rtx-4090"]).device     # "rtx-4090"

What a verb does is in its own module; nothing slow is imported here.
"""

import argparse
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias, get_args

from paribus.records import AnswerStyle


def add_external(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs that take generations made anywhere."""
    for verb, summary in {
        "score": "score generations: lm-eval's samples, JSON, CSV, Parquet, or paribus's own",
        "compare": "compare generations problem by problem, every pair, the later file as A, an "
        "untuned one as B",
    }.items():
        one = verbs.add_parser(verb, help=summary, description=summary)
        one.set_defaults(
            others=[], untuned=[], seeds_are_runs=False, paired_seeds=False, margin=None
        )
        files = (
            "generations: JSON lines, one JSON list, CSV or Parquet, also packed (gzip, bzip2, "
            "xz); lm-eval's output folder; a run's or an arm's folder; NAME=FILE names the arm"
        )
        one.add_argument("file", metavar="FILE", help=files)
        if verb == "compare":
            _add_compare(one)
        for option, kind, value, meaning in (
            ("--gold", Path, "FILE", "the problems asked, in such a file: question and answer"),
            ("--group-by", str, "KEY", "gold's key that says which problems belong together"),
            (
                "--task",
                str,
                "TASK",
                "score as this task does: its file, or gsm8k; gold is in the rows, in --gold, "
                "or in the task's test rows",
            ),
            (
                "--metric",
                str,
                "NAME",
                "the task's metric; without --task a value that the rows state (acc_norm, score; "
                "of several filters FILTER/NAME), else a metric: exact_match, f1, rougeL, math, "
                "json_match, 'python: FILE.py:FUNCTION', ...",
            ),
            ("--loss", str, "KEY", "compare by a loss that the rows state, in nats per token"),
            ("--report", _page, "FILE", "write the report, one HTML page, here"),
        ):
            default = "" if kind is str and option != "--group-by" else None
            one.add_argument(option, type=kind, metavar=value, default=default, help=meaning)
        one.add_argument(
            "--answer",
            choices=get_args(AnswerStyle),
            default="auto",
            help="what counts as a final answer: #### N, The answer is N, \\boxed{N}, N alone on "
            "the last line, or whichever a text has (default: auto)",
        )
        one.add_argument(
            "--common", action="store_true", help="use only the problems that all files answer"
        )
        one.add_argument("--json", action="store_true", help="print JSON")


def _add_compare(one: argparse.ArgumentParser) -> None:
    several = "the same, one or more; several files of one NAME are runs of that arm"
    one.add_argument("others", metavar="FILE", nargs="+", help=several)
    one.add_argument(
        "--untuned",
        metavar="NAME",
        action="append",
        default=[],
        help="this arm's model was tested as it was, untrained; repeatable",
    )
    one.add_argument(
        "--seeds-are-runs",
        action="store_true",
        help="files of one NAME are separate training runs, each of its own seed: with three or "
        "more, verdicts speak of the method (default: of the models that exist)",
    )
    one.add_argument(
        "--paired-seeds",
        action="store_true",
        help="compare seed by seed: the first file of each arm shares its seed, and so on; they "
        "are training runs (--seeds-are-runs), as many of each arm",
    )
    one.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="largest difference that would not matter: also say what is equivalent within it, "
        "and what is not worse by more",
    )


def _page(text: str) -> Path:
    """Return the path that is given for a report. Raises ArgumentTypeError if it is none."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty: name the file to write, page.html")
    if text == "-":
        message = "a report is written to a file: page.html, or ./- for one called so"
        raise argparse.ArgumentTypeError(message)
    return Path(text)


_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_RUNS = Path("runs")
MOST_JOBS = 1024
_STATUS_KEYS = (
    ": a list of runs with experiment, arm, seed, learning_rate or trial (of a trial), state, "
    "steps, step, of_steps, tested, to_test (texts), checkpoint_step, goes_on_from, "
    "still_to_test (of a complete run), "
    "age_seconds (since it began), changed_seconds, error, folder"
)


def command(verb: str, file: Path, values: Sequence[str], root: Path, *options: str) -> str:
    """Return a command as it can be typed, for hints, with the options of this call."""
    where = [] if root == _RUNS else ["--runs", _typed(root)]
    return shlex.join(["paribus", verb, _typed(file), *values, *where, *options])


def _ranks(text: str) -> int:
    """Return how many ranks are planned for. Raises ArgumentTypeError if that is no number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def _typed(path: Path) -> str:
    """Return a path as it can be typed where what begins with "-" is an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="paribus",
        description="Runs fine-tuning experiments with all else held equal, and says which "
        "differences are real.",
    )
    whole.add_argument("--version", action="version", version=f"paribus {version('paribus')}")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_init(verbs)
    _add_experiment(verbs)
    _add_verify(verbs)
    _add_merge(verbs)
    _add_adopt(verbs)
    _add_clean(verbs)
    add_external(verbs)
    _add_publish(verbs)
    _add_replay(verbs)
    _add_power(verbs)
    _add_audit(verbs)
    _add_baseline(verbs)
    _add_explain(verbs)
    _add_doctor(verbs)
    for choice in verbs.choices.values():
        choice.set_defaults(parser=choice)  # whose usage an error shows
    return whole


def _add_init(verbs: _Verbs) -> None:
    summary = "write a task and an experiment file for rows of your own"
    one = verbs.add_parser(
        "init",
        help=summary,
        description=f"{summary}: reads them, says what it takes for prompt, answer and metric. "
        "Without --train a terminal is asked. No file is overwritten",
    )
    rows = "rows: JSON lines, JSON, CSV or Parquet, packed or not; a folder of such files"
    one.add_argument("--train", metavar="FILE", help=f"{rows}, to train on")
    one.add_argument("--test", metavar="FILE", help="to test on (default: held out of --train)")
    one.add_argument(
        "--model",
        metavar="MODEL",
        default="",
        help="gemma-3-270m, a folder with safetensors, or a Hub id (default: gemma-3-270m)",
    )
    one.add_argument(
        "--name", metavar="NAME", default="", help="of the experiment (default: by the file)"
    )
    one.add_argument(
        "--into", type=Path, metavar="DIR", default=Path(), help="where to write (default: here)"
    )


def _add_experiment(verbs: _Verbs) -> None:
    """Add the verbs that take an experiment file."""
    for verb, summary in {
        "plan": "list arms, runs, memory, time and what is known to go wrong; spends nothing",
        "run": "run what is not complete yet, then write the report",
        "status": "show how far every run has come",
        "report": "write the report from what is in the store",
    }.items():
        one = verbs.add_parser(verb, help=summary, description=summary)
        if verb in {"plan", "run"}:
            one.add_argument("file", type=Path, help="experiment file (YAML)")
        else:
            nargs = "?" if verb == "status" else None
            one.add_argument(
                "file", type=Path, nargs=nargs, help="experiment file, or its folder of runs"
            )
        one.add_argument(
            "values",
            nargs="*",
            default=[],  # without one argparse calls them required
            metavar="key=value",
            help="values that override the file's"
            + (
                ": question, hypothesis, contrasts, margin, labels, strict, paired_seeds"
                if verb == "report"
                else ""
            ),
        )
        one.add_argument(
            "--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)"
        )
        if verb == "report":
            one.add_argument(
                "--score",
                metavar="NAME",
                default="",
                help="draw conclusions from this scorer or metric, not from the task's first",
            )
        if verb == "plan":
            _add_plan(one)
        if verb in {"plan", "run"}:
            one.add_argument(
                "--parallel",
                choices=["auto", "ddp", "fsdp"],
                default="auto",
                help="how several ranks train: each with the whole model (ddp), each with a part "
                "of every weight (fsdp); auto: the first where it fits",
            )
        if verb == "run":
            _add_run(one)
        if verb in {"plan", "status"}:
            shape = _STATUS_KEYS if verb == "status" else ""
            one.add_argument("--json", action="store_true", help=f"print JSON{shape}")


def _add_run(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--fork",
        action="store_true",
        help="resume unfinished runs that were begun with other settings, as new runs",
    )
    one.add_argument(
        "--jobs",
        type=_jobs,
        default=1,
        metavar="N|auto",
        help="runs at once; auto: one on each GPU, more where the predicted memory leaves room, "
        "without a GPU as many as have processors and memory (default: 1)",
    )
    one.add_argument(
        "--arms",
        type=_names,
        default=(),
        metavar="ARM,ARM",
        help="only the runs of these arms, and the trials they need (default: all)",
    )
    one.add_argument(
        "--seeds",
        type=_numbers,
        default=(),
        metavar="0,1",
        help="only the runs with these seeds (default: all)",
    )
    one.add_argument("--on", choices=["ray"], help="do the runs on a Ray cluster: paribus[ray]")
    one.add_argument(
        "--address",
        metavar="ADDRESS",
        help="with --on ray: auto, or HOST:PORT (default: a cluster of this machine alone)",
    )


def _jobs(text: str) -> int | None:
    """Return how many runs at once; None for `auto`. Raises ArgumentTypeError."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor 1 to {MOST_JOBS}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas. Raises ArgumentTypeError if one is empty."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} holds an empty name")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in a list with commas. Raises ArgumentTypeError."""
    names = _names(text)
    if not all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds, such as 0,1,2")
    return tuple(map(int, names))


def _add_plan(one: argparse.ArgumentParser) -> None:
    one.add_argument("--explain", action="store_true", help="where each value comes from")
    one.add_argument(
        "--details",
        action="store_true",
        help="also texts, memory by part, other ways to train, notes and what is not compared",
    )
    where = one.add_mutually_exclusive_group()
    where.add_argument(
        "--device",
        metavar="NAME",
        help="plan for this device: h100-80gb, rtx-4090, cpu-24gb, ... (default: what is here)",
    )
    where.add_argument(
        "--probe",
        action="store_true",
        help="run two real steps and one evaluation batch of each arm, and correct the estimates",
    )
    one.add_argument(
        "--ranks",
        type=_ranks,
        default=1,
        metavar="N",
        help="plan for runs of N processes on as many devices: torchrun --nproc-per-node N -m "
        "paribus run (default: 1)",
    )


def _add_verify(verbs: _Verbs) -> None:
    summary = "check that everything in a store is as it was written"
    one = verbs.add_parser(
        "verify",
        help=summary,
        description=f"{summary}: every file of complete runs, weights included, against the hash "
        "it was written with; checkpoints and tested problems of unfinished runs; the files of "
        "the experiment as a whole. Only reads. Exit code 1 if anything differs",
    )
    one.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="PATH",
        default=[_RUNS],
        help="a folder of runs, an experiment's folder in it, or one run's (default: runs)",
    )
    one.add_argument(
        "--json",
        action="store_true",
        help="print JSON: runs, unfinished, files, bytes, in_use, differences (file, what)",
    )


def _add_merge(verbs: _Verbs) -> None:
    summary = "join stores of one experiment, filled on several machines, in one"
    one = verbs.add_parser(
        "merge",
        help=summary,
        description=f"{summary}. Experiments must be the same, every complete run as it was "
        "written, and a run that two stores hold the same byte for byte; else nothing is written "
        "and all that is wrong is named. Ledgers are joined line by line. Unfinished runs stay "
        "where they are. After an interruption give the same command again",
    )
    one.add_argument(
        "stores", type=Path, nargs="+", metavar="STORE", help="an experiment's folder of runs"
    )
    one.add_argument(
        "--into",
        type=Path,
        required=True,
        metavar="DIR",
        help="the joined experiment's folder: a new one, or one that is joined with them",
    )
    one.add_argument(
        "--leave-out",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of runs or arms in these stores that are not taken; what they read of the "
        "test split stays on record",
    )
    one.add_argument(
        "--json",
        action="store_true",
        help="print JSON: into, copied, kept, agreeing, left_out (folder, why), bytes, readings, "
        "machines",
    )


def _add_adopt(verbs: _Verbs) -> None:
    summary = "enter a run copied in from another store into the ledger"
    one = verbs.add_parser(
        "adopt",
        help=summary,
        description=f"{summary}, as adopted: its files are checked first, weights too, and that "
        "settings, problems and place are those of this experiment",
    )
    one.add_argument("run", type=Path, metavar="RUN", help="its folder: runs/gsm8k/lora/seed-1")


def _add_clean(verbs: _Verbs) -> None:
    summary = "list files that can be made again or are no longer needed, ask, and remove them"
    one = verbs.add_parser(
        "clean",
        help=summary,
        description=f"{summary}: of unfinished and failed runs all they wrote, checkpoints too; "
        "of complete runs nothing but leftovers; never the ledger. A run in use is left alone",
    )
    one.add_argument(
        "target",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="experiment file, or a folder: of an experiment, of one run (default: all runs)",
    )
    one.add_argument("--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)")
    one.add_argument("--yes", action="store_true", help="remove all that is shown, do not ask")
    one.add_argument(
        "--cache", action="store_true", help="also models and encoded texts in paribus's own cache"
    )


def _add_publish(verbs: _Verbs) -> None:
    summary = "write an experiment without its weights as a folder to publish"
    one = verbs.add_parser(
        "publish",
        help=summary,
        description=f"{summary}: a page, the report, its figures, findings, and every text and "
        "outcome as Parquet",
    )
    one.add_argument("file", type=Path, help="experiment file, or its folder of runs")
    into = "folder to write; what it holds beside is kept, prose in its README.md too"
    one.add_argument("--into", type=Path, required=True, metavar="DIR", help=into)
    one.add_argument("--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)")
    summary = "make the runs of a published experiment again, to the byte, without weights"
    one = verbs.add_parser("unpack", help=summary, description=summary)
    one.add_argument("folder", type=Path, metavar="DIR", help="what `paribus publish` wrote")
    into = "folder to make, such as runs/NAME"
    one.add_argument("--into", type=Path, required=True, metavar="DIR", help=into)


def _add_replay(verbs: _Verbs) -> None:
    summary = "what a smaller experiment would have concluded, drawn from this one's results"
    one = verbs.add_parser("replay", help=summary, description=summary)
    one.add_argument("file", type=Path, help="experiment file, or its folder of runs")
    one.add_argument("--problems", type=int, required=True, metavar="N", help="of each replay")
    one.add_argument("--times", type=int, default=10_000, metavar="N", help="replays: 10,000")
    one.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="A:B:POINTS",
        help="say how often A is ahead of B by so many points; of several also how often all are",
    )
    one.add_argument("--figure", type=Path, metavar="FILE", help="draw the differences (SVG)")
    one.add_argument("--score", metavar="NAME", default="", help="count by this scorer or metric")
    one.add_argument("--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)")
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_power(verbs: _Verbs) -> None:
    summary = "how many problems and seeds a difference takes, before anything is run"
    one = verbs.add_parser("power", help=summary, description=summary)
    known = one.add_mutually_exclusive_group(required=True)
    known.add_argument("--baseline", type=float, help="accuracy to compare with, 0..1")
    known.add_argument(
        "--pilot",
        nargs="+",
        metavar="FILE",
        help="instead, for scores and losses: two arms of a pilot, as compare takes them, whose "
        "scores say how much these vary",
    )
    sought = one.add_mutually_exclusive_group(required=True)
    sought.add_argument(
        "--difference", type=float, help="to be shown, a share: 0.05 is 5 points; of a loss nats"
    )
    sought.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="show instead that arms which are equal differ by less than these points",
    )
    one.add_argument("--seeds", type=int, default=1, help="of each arm (default: 1)")
    one.add_argument(
        "--seed-spread",
        type=float,
        help="standard deviation of accuracy or scores among seeds, a share (default: 0.01, or the "
        "pilot's)",
    )
    one.add_argument(
        "--correlation",
        type=float,
        help="between two arms over problems (default: 0.4, or the highest possible)",
    )
    one.add_argument(
        "--seed-correlation",
        type=float,
        help="between two seeds of one arm, likewise (default: 0.6, or --correlation if higher)",
    )
    one.add_argument(
        "--comparisons",
        type=int,
        default=1,
        help="number of comparisons, corrected by Holm's method",
    )
    for option, meaning in (
        ("--task", "of a pilot, as compare takes it"),
        ("--metric", "likewise"),
        ("--loss", "likewise"),
    ):
        one.add_argument(option, default="", help=meaning)
    one.add_argument("--gold", type=Path, metavar="FILE", help="likewise")
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_audit(verbs: _Verbs) -> None:
    summary = "what a published table of accuracies shows, and what it would have taken"
    one = verbs.add_parser("audit", help=summary, description=summary)
    one.add_argument(
        "counts",
        nargs="+",
        metavar="NAME=SOLVED/PROBLEMS",
        help="an arm as it was published: full=31/100, or full=25.0%%/512. Arms with as many "
        "problems answered the same ones",
    )
    one.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="A:B",
        help="compare these arms; again for each pair (default: every pair)",
    )
    one.add_argument(
        "--seed-spread",
        type=float,
        default=0.01,
        help="standard deviation of accuracy among seeds, a share (default: 0.01)",
    )
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_baseline(verbs: _Verbs) -> None:
    summary = "what models solve before any tuning, and which leave room to improve"
    one = verbs.add_parser("baseline", help=summary, description=summary)
    one.add_argument(
        "words",
        nargs="*",
        metavar="MODEL",
        help="models: gemma-3-270m, a folder, a Hub id; key=value sets a key of the experiment",
    )
    one.add_argument(
        "--data", metavar="SOURCE", help="gsm8k, wordproblems, gsm8k_swapped, or GSM8K's folder"
    )
    one.add_argument("--task", metavar="TASK", help="instead: a task file, or a task of lm-eval's")
    one.add_argument(
        "--problems",
        type=int,
        metavar="N",
        help="test problems (default: 200, or all of a task that has fewer)",
    )
    one.add_argument(
        "--protocols", metavar="A,B", help="such as zero_shot/raw,one_shot/chat (default: all)"
    )
    one.add_argument(
        "--experiment", type=Path, metavar="FILE", help="take data, prompts and models from this"
    )
    one.add_argument("--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)")
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_explain(verbs: _Verbs) -> None:
    summary = "a rule card: what goes wrong, why, what to do instead; without an id, all of them"
    one = verbs.add_parser("explain", help=summary, description=summary)
    one.add_argument("id", nargs="?", metavar="PB014", help="the rule's id")
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_doctor(verbs: _Verbs) -> None:
    summary = "what this machine is, and what will not work here"
    one = verbs.add_parser("doctor", help=summary, description=summary)
    one.add_argument("--runs", type=Path, default=_RUNS, help="where runs are kept (default: runs)")
    one.add_argument("--json", action="store_true", help="print JSON")
