"""examples/skypilot.yaml: SkyPilot takes it, and paribus takes what it runs.

SkyPilot is no dependency. Where it is not installed its half is skipped; it was run with 0.14.1.
"""

import shlex
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from paribus.cli.arguments import parser

FILE = Path(__file__).parents[1] / "examples" / "skypilot.yaml"
TASK: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_paribus_takes_the_command_that_it_runs():
    at_home, command = TASK["run"].splitlines()
    assert at_home == "cd ~"
    words = shlex.split(Template(command).substitute(TASK["envs"]))
    assert words[0].endswith("/bin/paribus")
    options = parser().parse_args(words[1:])
    assert (options.verb, options.file) == ("run", Path("experiment/intent.yaml"))
    assert options.values == ["seeds=4"]


def test_the_folders_that_it_uploads_hold_what_it_runs():
    ((place, folder),) = TASK["file_mounts"].items()
    own = Path("~", TASK["envs"]["EXPERIMENT"]).relative_to(place)
    assert (FILE.parents[1] / folder / own).is_file()
    assert "constraints.txt" in TASK["setup"]
    assert TASK["setup"].index("txt torch\n") < TASK["setup"].index("-e '.[")


def test_skypilot_takes_it(monkeypatch, tmp_path):
    sky = pytest.importorskip("sky", reason="skypilot is not installed: pip install skypilot")
    monkeypatch.chdir(FILE.parents[1])
    task = sky.Task.from_yaml(str(FILE))
    assert (task.name, task.num_nodes, task.envs["SEEDS"]) == ("paribus", 1, "0")
    assert {name for each in task.resources for name in each.accelerators} == {"A100-80GB", "H100"}


@pytest.mark.parametrize(
    "fault", [{"envs": {"A B": "x"}}, {"resource": {}}, {"setup": ["x"]},
              {"resources": {"accelerator": "H100"}}], ids=str,
)  # fmt: skip
def test_skypilot_would_refuse_another(monkeypatch, tmp_path, fault):
    sky = pytest.importorskip("sky", reason="skypilot is not installed: pip install skypilot")
    monkeypatch.chdir(FILE.parents[1])
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(TASK | fault))
    with pytest.raises(ValueError, match="Invalid|additional|Additional|unexpected"):
        sky.Task.from_yaml(str(other))
