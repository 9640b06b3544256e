"""`paribus merge A B … --into C`: stores of one experiment, joined in one.

b/gsm8k/lora/seed-2: not taken: unfinished; it resumes there from step 120 of 400
12 runs copied, 1.2 GB; 26 readings of the test split on record
machines: 2 cores, Linux x86_64; Xeon, AVX512 (6 runs), 8 cores, Linux x86_64; EPYC, AVX2 (6 runs)
report: paribus report runs/gsm8k
"""

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.store.merge import Merged
from paribus.store.merge import merge as join


def from_options(options: Namespace) -> int:
    """Run `paribus merge`."""
    return merge(options.stores, options.into, options.leave_out, as_json=options.json)


def merge(stores: Sequence[Path], into: Path, leave_out: Sequence[Path], *, as_json: bool) -> int:
    """Join `stores` in `into` and say what was done. Raises UserError."""
    waiting = PlainConsole(stderr=True)
    with waiting.status("comparing experiments") as status:
        merged = join(stores, into, leave_out, lambda step: status.update(escape(step)))
    if as_json:
        print(json.dumps(_record(merged), indent=2))
    else:
        _show(merged, PlainConsole(highlight=False, soft_wrap=True))
    return 0


def _record(merged: Merged) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "into": str(merged.into),
        "copied": [str(path) for path in merged.copied],
        "kept": [str(path) for path in merged.kept],
        "agreeing": [str(path) for path in merged.agreeing],
        "left_out": [{"folder": str(each.folder), "why": each.why} for each in merged.left_out],
        "bytes": merged.bytes,
        "readings": merged.readings,
        "machines": merged.machines,
    }


def _show(merged: Merged, console: Console) -> None:
    for left in merged.left_out:
        console.print(f"{escape(str(left.folder))}: not taken: {escape(left.why)}")
    parts = [f"{_count(len(merged.copied), 'run')} copied, {decimal(merged.bytes)}"]
    if merged.kept:
        parts.append(f"{_count(len(merged.kept), 'run')} there already")
    if merged.agreeing:
        parts.append(f"{_count(len(merged.agreeing), 'run')} in more than one store, all alike")
    parts.append(f"{_count(merged.readings, 'reading')} of the test split on record")
    console.print("; ".join(parts))
    if len(merged.machines) > 1:
        machines = "\n  ".join(
            f"{name} ({_count(n, 'run')})" for name, n in merged.machines.items()
        )
        console.print(f"machines, which the report names on each comparison that crosses them:\n"
                      f"  {escape(machines)}")  # fmt: skip
    console.print(f"report: {escape(shlex.join(['paribus', 'report', str(merged.into)]))}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
