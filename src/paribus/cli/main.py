"""The command line: `paribus VERB …`. Exit codes: 0 done, 2 your mistake, 1 ours or a failed run.

paribus plan   FILE [key=value …]    what would be run, and whether it can be
paribus run    FILE [key=value …]    run what is not complete yet, then report
paribus status [FILE]                how far every run has come
paribus report FILE                  draw the conclusions from the store
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
    return parser


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    sys.exit(main())
