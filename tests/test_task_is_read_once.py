"""A task file that is edited while its experiment runs reaches no run, in whatever process."""

import json
from hashlib import sha256
from pathlib import Path

import yaml

from paribus.analysis.reading import read_experiment
from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.running.local import run_experiment
from paribus.store.layout import ExperimentFolder

ROWS = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(24)]
TASK = {
    "train": "rows.jsonl",
    "doc_to_text": "{{text}}:",
    "doc_to_target": "label",
    "metric_list": [{"metric": "exact_match"}],
}
EDITED = {**TASK, "description": "Be brief. ", "metric_list": [{"metric": "choice"}]}
EXPERIMENT = {
    "task": "own.yaml",
    "data": {"train_size": 4, "test_size": 4},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "save_weights": False},
    "evaluation": {"max_new_tokens": 4},
    "baseline": {"protocol": "zero_shot"},
    "matrix": {"method": ["full"]},
}


def test_a_task_file_that_is_edited_meanwhile_reaches_no_run(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(TASK))
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}))
    loaded = load(tmp_path / "x.yaml")
    design = expand(loaded)
    expected = {run.arm: run.fingerprint for run in design.runs}

    def edit(*_: object) -> None:
        file.write_text(yaml.safe_dump(EDITED))

    root = tmp_path / "runs"
    outcome = run_experiment(loaded, design, root, lambda *_: None, edit)
    assert (outcome.ran, outcome.failed) == (2, ())
    folder = ExperimentFolder(root / "x")
    tables = read_experiment(folder)
    for run in tables.runs:
        spec = json.loads((folder.run(run.arm, 0).spec).read_text())
        assert spec["fingerprint"] == expected[run.arm]
        assert run.scorers.names == ("exact_match",)
        for text in run.generations:
            assert text.prompt_sha256 == sha256(text.question.encode()).hexdigest()
