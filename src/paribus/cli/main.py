"""The command line: `paribus VERB …`. Exit codes: 0 done, 2 your mistake, 1 ours or a failed run.

paribus plan   FILE [key=value …]    what would be run, and whether it can be
paribus run    FILE [key=value …]    run what is not complete yet, then report
paribus status [FILE]                how far every run has come
paribus report FILE                  draw the conclusions from the store
paribus score  FILE                  what generations made elsewhere solve
paribus compare FILE FILE …          how they differ, problem by problem
paribus power  --baseline --difference   how many problems and seeds that takes
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from paribus.errors import ParibusError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return _run_verb(options)
    except ParibusError as error:
        errors.print(f"[bold red]error:[/] {_plain(error.message)}")
        if error.remedy:
            errors.print(f"  → {_plain(error.remedy)}")
        return error.exit_code
    except KeyboardInterrupt:
        errors.print("\nstopped. Finished runs are kept; go on with:")
        errors.print(f"  {_plain(shlex.join(['paribus', *words]))}")
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0


def _run_verb(options: argparse.Namespace) -> int:
    # Imported here: `paribus --help` must not wait for what only one verb needs.
    if options.verb == "plan":
        from paribus.cli.plan import plan

        return plan(
            options.file,
            options.values,
            options.runs,
            explain=options.explain,
            as_json=options.json,
        )
    if options.verb == "run":
        from paribus.cli.run import run

        return run(options.file, options.values, options.runs)
    if options.verb == "status":
        from paribus.cli.status import status

        return status(options.file, options.values, options.runs, as_json=options.json)
    if options.verb in {"score", "compare"}:
        from paribus.cli.score import score

        return score(
            [options.file, *options.others],
            gold=options.gold,
            group_by=options.group_by,
            common=options.common,
            page=options.report,
            as_json=options.json,
        )
    if options.verb == "power":
        from paribus.cli.power import design_of, power

        design = design_of(
            options.baseline,
            options.difference,
            seeds=options.seeds,
            correlation=options.correlation,
            seed_correlation=options.seed_correlation,
            seed_spread=options.seed_spread,
            comparisons=options.comparisons,
        )
        return power(design, options.baseline, options.difference, as_json=options.json)
    from paribus.cli.report import report

    return report(options.file, options.values, options.runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paribus",
        description="Runs fine-tuning experiments with all else held equal, and says which "
        "differences are real.",
    )
    parser.add_argument("--version", action="version", version=f"paribus {version('paribus')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, summary in {
        "plan": "list arms, runs, what is complete, token counts; spends nothing",
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
            "values", nargs="*", metavar="key=value", help="values that override the file's"
        )
        one.add_argument(
            "--runs", type=Path, default=Path("runs"), help="where runs are kept (default: runs)"
        )
        if verb == "plan":
            one.add_argument("--explain", action="store_true", help="where each value comes from")
        if verb in {"plan", "status"}:
            one.add_argument("--json", action="store_true", help="print JSON")
    _add_foreign(verbs)
    _add_power(verbs)
    return parser


def _add_foreign(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs that take generations made anywhere."""
    for verb, summary in {
        "score": "score generations: lm-eval samples, JSON lines, or paribus's own",
        "compare": "compare generations problem by problem, every pair, the later file as A",
    }.items():
        one = verbs.add_parser(verb, help=summary, description=summary)
        one.set_defaults(others=[])
        files = "generations (JSON lines), or a run's or an arm's folder; NAME=FILE names the arm"
        one.add_argument("file", metavar="FILE", help=files)
        if verb == "compare":
            one.add_argument("others", metavar="FILE", nargs="+", help="the same, one or more")
        for option, kind, value, meaning in (
            ("--gold", Path, "FILE", "the problems asked: JSON lines of question and answer"),
            ("--group-by", str, "KEY", "gold's key that says which problems belong together"),
            ("--report", Path, "FILE", "write the report, one HTML page, here"),
        ):
            one.add_argument(option, type=kind, metavar=value, help=meaning)
        one.add_argument(
            "--common", action="store_true", help="use only the problems that all files answer"
        )
        one.add_argument("--json", action="store_true", help="print JSON")


def _add_power(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "how many problems and seeds a difference takes, before anything is run"
    one = verbs.add_parser("power", help=summary, description=summary)
    one.add_argument("--baseline", type=float, required=True, help="accuracy to compare with, 0..1")
    one.add_argument(
        "--difference", type=float, required=True, help="to be shown, a share: 0.05 is 5 points"
    )
    one.add_argument("--seeds", type=int, default=1, help="of each arm (default: 1)")
    one.add_argument(
        "--seed-spread",
        type=float,
        default=0.01,
        help="standard deviation of accuracy among seeds, a share (default: 0.01)",
    )
    one.add_argument(
        "--correlation",
        type=float,
        help="between two arms, of which problems they solve (default: 0.4, or what is possible)",
    )
    one.add_argument(
        "--seed-correlation",
        type=float,
        help="between two seeds of one arm, likewise (default: 0.6, or --correlation if higher)",
    )
    one.add_argument(
        "--comparisons", type=int, default=1, help="made at once, which Holm corrects for"
    )
    one.add_argument("--json", action="store_true", help="print JSON")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    sys.exit(main())
