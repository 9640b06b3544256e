"""`paribus verify [PATH …]`: is everything in a store as it was written?

runs/gsm8k/full-main/seed-0/result.json: has other content than the manifest says, in as many bytes
12 runs (1 unfinished), 340 files, 1.2 GB: 1 difference

Exit code 0: there is none. 1: there are some.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from paribus.cli.console import PlainConsole
from paribus.store.verify import Checked
from paribus.store.verify import verify as check


def from_options(options: Namespace) -> int:
    """Run `paribus verify`."""
    return verify(options.paths, as_json=options.json)


def verify(paths: Sequence[Path], *, as_json: bool) -> int:
    """Verify `paths`, print every difference, and return the exit code.

    Raises StoreError if a path holds no runs.
    """
    checked = Checked()
    waiting = PlainConsole(stderr=True)
    with waiting.status("looking for runs") as status:
        for path in dict.fromkeys(paths):
            check(path, checked, lambda folder: status.update(f"checking {escape(str(folder))}"))
    if as_json:
        print(json.dumps(_record(checked), indent=2))
    else:
        _show(checked, PlainConsole(highlight=False, soft_wrap=True))
    return int(bool(checked.differences))


def _record(checked: Checked) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "runs": checked.runs,
        "unfinished": checked.unfinished,
        "files": checked.files,
        "bytes": checked.bytes,
        "in_use": [str(path) for path in checked.in_use],
        "differences": [
            {"file": str(difference.file), "what": difference.what}
            for difference in checked.differences
        ],
    }


def _show(checked: Checked, console: Console) -> None:
    for difference in checked.differences:
        console.print(f"{escape(str(difference.file))}: {escape(difference.what)}")
    for path in checked.in_use:
        console.print(f"{escape(str(path))}: not checked, a process works on it")
    differences = len(checked.differences)
    unfinished = f" ({checked.unfinished} unfinished)" if checked.unfinished else ""
    seen = (
        f"{_count(checked.runs, 'run')}{unfinished}, {_count(checked.files, 'file')}, "
        f"{decimal(checked.bytes)}"
    )
    if differences:
        console.print(f"{seen}: {_count(differences, 'difference')}")
    else:
        console.print(f"{seen}: all as {'it was' if checked.files == 1 else 'they were'} written")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
