"""Measure `status`, `verify` and `report` on stores of many runs that `scale_store.py` makes.

    python benchmarks/scale.py --runs 80 200 400 1000       # 40 arms, 1,319 problems each

Each verb runs in a process of its own. `cpu_seconds` counts its child processes too: where the
machine does other work meanwhile, `seconds` says more of that work than of paribus. Peak memory is
that of the largest process. Stores are made in a temporary folder, or kept in `--stores`, and rows
replace those of the same size in `benchmarks/results/scale.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scale_store import NAME, make_store
from speed import environment
from speed_machine import machine

from paribus.files import read_json, write_json
from paribus.store.layout import ExperimentFolder

RESULTS = Path(__file__).parent / "results" / "scale.json"
VERBS = ("status", "verify", "report")
# A process of its own, whose only children are the verb and what it forks.
_TIMED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"seconds": time.perf_counter() - began,
                  "cpu_seconds": used.ru_utime + used.ru_stime,
                  "peak_memory_bytes": used.ru_maxrss * 1024}))
"""


def measure(stores: Path, runs: int, problems: int) -> dict[str, Any]:
    """Return what the verbs take on a store of `runs` runs; it is made if it is not there."""
    root = stores / f"{runs}x{problems}"
    folder = ExperimentFolder(root / NAME)
    if not folder.description.exists():
        make_store(root, runs=runs, problems=problems, many_arms=True)
    files = [path for run in folder.runs() for path in run.path.rglob("*") if path.is_file()]
    row = {
        "runs": len(folder.runs()),
        "problems": problems,
        "store_bytes": sum(path.stat().st_size for path in files),
        "verbs": {verb: _timed(verb, folder.path) for verb in VERBS},
        "page_bytes": folder.report.stat().st_size,
        "findings_bytes": folder.findings.stat().st_size,
    }
    print(json.dumps(row), flush=True)
    return row


def _timed(verb: str, folder: Path) -> dict[str, float]:
    """Return the seconds, CPU seconds and peak memory of one verb."""
    paribus = [sys.executable, "-m", "paribus.cli.main", verb, str(folder)]
    command = [sys.executable, "-c", _TIMED, *paribus]
    done = subprocess.run(command, env=environment(), capture_output=True, check=True)
    timed: dict[str, float] = json.loads(done.stdout)
    return timed


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[80, 200, 400, 1000])
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--stores", type=Path, help="folder in which the stores are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        stores = options.stores or Path(place)
        rows = [measure(stores, runs, options.problems) for runs in options.runs]
    before = read_json(options.out)["rows"] if options.out.exists() else []
    measured = {(row["runs"], row["problems"]): row for row in (*before, *rows)}
    write_json(
        options.out,
        {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine("cpu"),
            "rows": [measured[size] for size in sorted(measured)],
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
