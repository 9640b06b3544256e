"""`paribus run FILE`: check everything, run what is missing, conclude."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from paribus.cli.display import Display
from paribus.cli.report import conclude
from paribus.config.load import load
from paribus.errors import RunFailed
from paribus.experiment.local import run_experiment
from paribus.experiment.matrix import expand
from paribus.store.layout import ExperimentFolder


def run(file: Path, values: Sequence[str], root: Path) -> int:
    """Run the experiment in `file` and print the table and the report's path."""
    # Children inherit these: what a run computes must not depend on what the network answers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    loaded = load(file, values)
    design = expand(loaded)
    with Display(console, loaded.config.name, design.runs) as display:
        outcome = run_experiment(loaded, design, root, display)
    for name, message in outcome.failed:
        console.print(f"[red]failed[/] {name}: {message}", markup=True)
    conclude(ExperimentFolder(root / loaded.config.name), console)
    if outcome.failed:
        raise RunFailed(
            f"{len(outcome.failed)} of {len(design.runs)} runs failed; the others are kept",
            "mend the cause named above, then give the same command again",
        )
    return 0
