"""Every experiment and config file in the repo is planned, and the README's own example too."""

import json
import re
from pathlib import Path

import pytest
import yaml

from paribus.cli.main import main
from paribus.config.load import load
from paribus.design.matrix import expand

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "experiments").glob("*.yaml"), *(ROOT / "configs").glob("*.yaml")])
EXPECTED = {
    "gsm8k_gemma_270m": (7, 19, 15),
    "gsm8k_gemma_2b": (7, 19, 15),
    "gsm8k_gemma_2b_tuned": (7, 19, 13),
    "gsm8k_swapped_270m": (5, 5, 4 + 4),
    "quickstart": (3, 3, 1 + 2),
    "wordproblems_270m": (5, 5, 4 + 4),
    "base": (2, 2, 1),
    "full_main": (2, 2, 1),
    "full_socratic": (2, 2, 1),
    "lora_main": (2, 2, 1),
    "lora_socratic": (2, 2, 1),
}


def test_every_file_is_expected():
    assert {file.stem for file in FILES} == set(EXPECTED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_planned(file, capsys, tmp_path):
    """Without network, what needs the Hub is listed as not known, with the reason."""
    code = main(["plan", str(file), "--device", "h100-80gb", "--json", "--runs", str(tmp_path)])
    made = json.loads(capsys.readouterr().out)
    gone = any("there is no file" in (arm["unknown"] or "") for arm in made["arms"])
    assert code == (2 if gone else 0)
    counts = (len(made["arms"]), len(made["runs"]), len(made["contrasts"]))
    assert counts == EXPECTED[file.stem]
    for arm in made["arms"]:
        assert (arm["tokens"] is None) == bool(arm["unknown"])


def test_the_quickstart_is_planned_on_one_page(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    file = str(ROOT / "experiments" / "quickstart.yaml")
    assert main(["plan", file, "--device", "cpu-24gb", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("quickstart: can be run. ")
    assert sum(max(1, -(-len(line) // 100)) for line in lines) < 25


def test_an_arms_file_runs_alone_with_values_by_name():
    loaded = load(ROOT / "configs" / "lora_main.yaml", ["model=gemma-3-270m", "data.train_size=64"])
    design = expand(loaded)
    assert [(arm.name, arm.config.method) for arm in design.arms] == [
        ("baseline", "none"),
        ("lora-main", "lora"),
    ]
    assert design.arms[1].config.data.train_size == 64
    assert str(loaded.origins["data.train_size"]) == "command line"
    assert str(loaded.origins["lora.r"]).endswith("configs/base.yaml:21")


def test_the_original_arms_are_the_original_projects():
    design = expand(load(ROOT / "experiments" / "gsm8k_gemma_2b.yaml"))
    config = next(arm for arm in design.arms if arm.name == "lora-main-original").config
    training, lora = config.training, config.lora
    assert config.model == "google/gemma-2b-it"
    assert (training.learning_rate, training.min_learning_rate) == (1e-5, 1e-6)
    assert (training.batch_size, training.micro_batch) == (16, 8)
    assert (training.schedule, training.warmup, training.weight_decay) == ("cosine", 0.03, 0.01)
    assert training.optimizer == "adamw_8bit"
    assert training.precision == "auto"  # bf16, as theirs, wherever a GPU has it
    assert training.checkpointing
    assert (lora.r, lora.alpha, lora.dropout) == (16, 32, 0.05)
    assert lora.targets == (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip


def test_the_readmes_example_expands(tmp_path):
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```yaml\n# experiments/mine.yaml\n(.*?)```", readme, re.DOTALL)
    assert block
    values = yaml.safe_load(block.group(1))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text((ROOT / "configs" / "base.yaml").read_text())
    (tmp_path / "experiments").mkdir()
    file = tmp_path / "experiments" / "mine.yaml"
    file.write_text(block.group(1))
    design = expand(load(file))
    assert len(design.arms) == 1 + len(values["matrix"]["lora.r"]) + len(values["arms"])
    pairs = [(one.a, one.b) for one in design.contrasts if one.factor == "method"]
    assert pairs == [("r=4", "full"), ("r=16", "full"), ("r=64", "full")]
    rates = {arm.config.method: arm.config.training.learning_rate for arm in design.arms[1:]}
    assert rates == {"lora": 2e-4, "full": 2e-5}
    assert design.apart == []
