"""The words of the verbs that take generations made anywhere: `score` and `compare`."""

import argparse
from pathlib import Path
from typing import get_args

from paribus.records import AnswerStyle


def add_foreign(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
            ("--report", _page, "FILE", "write the report, one HTML page, here"),
        ):
            one.add_argument(option, type=kind, metavar=value, help=meaning)
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
        help="this arm's model was tested as it was, untrained; may be given again",
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
