"""Try every fault there is a test for, and count what survives: docs/reliability.md.

    python benchmarks/faults.py                  # about two hours on 2 cores: results/faults.json
    python benchmarks/faults.py tests/faults     # these alone; the other results stay

The tests do the work: tests/faults, tests/fuzz, tests/security and those of resuming, the slow ones
among them. A test that tries more than one fault says how many by the property `tried`.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed_machine import machine

from paribus.files import read_json, write_json

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "faults.json"
FUZZ = {"PARIBUS_FUZZ": "10000", "PARIBUS_FUZZ_STORES": "2000"}
WHERE = ("tests/faults", "tests/fuzz", "tests/security", "tests/test_resume.py",
         "tests/test_refused_checkpoints.py", "tests/test_stopping.py", "tests/test_verify.py",
         "tests/test_out_of_memory.py")  # fmt: skip


def measure(where: Sequence[str]) -> list[dict[str, Any]]:
    """Run the tests in `where`; return a row for each, its cases added up."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-m", "not gpu", "--timeout=7200", f"--junitxml={report}",
                   "-o", "junit_family=xunit1"]  # fmt: skip
        environment = {**os.environ, **FUZZ, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "pytest", *options, *where]
        subprocess.run(command, cwd=HERE.parent, env=environment, check=False)
        cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314  # our own file
        return _rows([_case(case) for case in cases])


def _case(case: ElementTree.Element) -> dict[str, Any]:
    """Return what one case tried. One that was skipped tried nothing."""
    tried = [int(each.attrib["value"]) for each in case.iter("property")
             if each.attrib["name"] == "tried"]  # fmt: skip
    lost = case.find("failure") is not None or case.find("error") is not None
    return {
        "file": case.attrib["classname"].removeprefix("tests.").replace(".", "/"),
        "test": case.attrib["name"].partition("[")[0],
        "tried": 0 if case.find("skipped") is not None else (tried or [1])[0],
        "lost": int(lost),
        "seconds": float(case.attrib["time"]),
    }


def _rows(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for case in cases:
        row = rows.setdefault((case["file"], case["test"]), {**case, "tried": 0, "lost": 0,
                                                            "seconds": 0.0})  # fmt: skip
        for key in ("tried", "lost", "seconds"):
            row[key] += case[key]
    return list(rows.values())


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `rows`, and those of the stored results that they do not replace."""
    stored = read_json(RESULTS)["rows"] if RESULTS.exists() else []
    fresh = {(row["file"], row["test"]) for row in rows}
    kept = [row for row in stored if (row["file"], row["test"]) not in fresh]
    return sorted([*kept, *rows], key=lambda row: (row["file"], row["test"]))


if __name__ == "__main__":
    part = sys.argv[1:]
    rows = merged(measure(part)) if part else measure(WHERE)
    write_json(
        RESULTS, {"date": time.strftime("%Y-%m-%d"), "machine": machine("cpu"), "rows": rows}
    )
    lost = sum(row["lost"] for row in rows)
    print(f"{sum(row['tried'] for row in rows):,} faults tried, {lost} lost: {RESULTS}")
    sys.exit(int(lost > 0))
