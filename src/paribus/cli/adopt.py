"""`paribus adopt RUN`: enter a run that was copied in from another store into the ledger.

runs/gsm8k/lora/seed-1: entered into the ledger, as adopted, for zero_shot/raw, likelihood
"""

from argparse import Namespace
from pathlib import Path

from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.store.adopt import adopt as enter


def from_options(options: Namespace) -> int:
    """Run `paribus adopt`."""
    return adopt(options.run)


def adopt(path: Path) -> int:
    """Check the run in `path` and enter what it read. Raises StoreError."""
    protocols = [read.protocol for read in enter(path)]
    text = "nothing to do: the ledger has a line for all that it read"
    if protocols:
        text = f"entered into the ledger, as adopted, for {', '.join(protocols)}"
    PlainConsole(highlight=False, soft_wrap=True).print(f"{escape(str(path))}: {escape(text)}")
    return 0
