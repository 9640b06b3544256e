"""Run paribus as its users do: the command line, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def paribus(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paribus.cli.main", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"},
    )
