"""The whole path from outside, by the command line, on a tiny model: run, stop, resume, report."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import outside
from inside import ctrl_c, meanwhile, paribus

ARMS = ["baseline", "full-main", "full-socratic", "lora-main", "lora-socratic"]
EXPERIMENT = {
    "question": "Does the path work?",
    "data": {"train_size": 16, "test_size": 6, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 2, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 12, "batch_size": 4},
    "matrix": {
        "method": {
            "full": {"training.learning_rate": 1e-3},
            "lora": {"training.learning_rate": 1e-2},
        },
        "data.variant": ["main", "socratic"],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "tiny.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    )
    return folder


@pytest.fixture(scope="module")
def first(folder) -> subprocess.CompletedProcess[str]:
    return outside.paribus("run", "tiny.yaml", cwd=folder)


def test_one_command_runs_everything(first, folder):
    assert first.returncode == 0, first.stdout + first.stderr
    for arm in ARMS:
        assert f"{arm} seed 0" in first.stdout
    assert "report: runs/tiny/report/index.html" in first.stdout
    store = folder / "runs" / "tiny"
    assert sorted(path.parent.parent.name for path in store.glob("*/seed-0/manifest.json")) == ARMS
    findings = json.loads((store / "report" / "findings.json").read_text())
    assert [arm["name"] for arm in findings["arms"]] == ARMS
    assert len(findings["contrasts"]) == 4 + 4


def test_what_a_run_leaves_behind(first, folder):
    run = folder / "runs" / "tiny" / "lora-main" / "seed-0"
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["planned", "probed"] + ["step"] * 4 + ["trained", "tested", "likelihood"]
    steps = [event for event in events if event["event"] == "step"]
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert {"loss", "grad_norm", "learning_rate", "seconds", "target_tokens"} <= steps[0].keys()
    assert [step["examples_per_second"] is None for step in steps] == [True] + [False] * 3
    assert all(event["peak_memory_bytes"] > 50_000_000 for event in events[-6:-1])
    generations = (run / "generations" / "zero_shot-raw.jsonl").read_text().splitlines()
    heldout = (run / "heldout.jsonl").read_text().splitlines()
    result = json.loads((run / "result.json").read_text())
    assert len(generations) == len(heldout) == result["heldout"]["problems"] == 6
    assert result["heldout"]["tokens"] == sum(json.loads(line)["tokens"] for line in heldout)
    assert (result["evaluation"]["protocol"], result["also"]) == ("zero_shot/raw", {})
    assert result["training"]["trainable_parameters"] < result["training"]["total_parameters"]
    assert result["training"]["peak_memory_bytes"] > 50_000_000
    assert (run / "weights" / "adapter_model.safetensors").exists()
    recorded = set(json.loads((run / "manifest.json").read_text())["files"])
    found = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert recorded == found - {"manifest.json", "lock"}


def test_arms_differ_in_the_factor_and_in_nothing_else(first, folder):
    store = folder / "runs" / "tiny"

    def read(arm: str) -> tuple[dict, dict]:
        spec = json.loads((store / arm / "seed-0" / "spec.json").read_text())
        return spec["identity"], spec["inputs"]

    (full, full_inputs), (lora, lora_inputs) = read("full-main"), read("lora-main")
    assert full_inputs == lora_inputs
    assert {key for key in full if full[key] != lora.get(key)} == {"method", "training"}
    (_, main), (_, socratic) = read("full-main"), read("full-socratic")
    assert main["test_sha256"] == socratic["test_sha256"]
    assert main["train_sha256"] != socratic["train_sha256"]


def test_a_finished_run_is_never_repeated(first, folder):
    manifests = sorted((folder / "runs").glob("*/*/seed-*/manifest.json"))
    assert len(manifests) == 5
    before = [path.stat().st_mtime_ns for path in manifests]
    again = paribus("run", "tiny.yaml", cwd=folder)
    assert again.returncode == 0
    assert [path.stat().st_mtime_ns for path in manifests] == before
    plan = json.loads(paribus("plan", "tiny.yaml", "--json", cwd=folder).stdout)
    assert [run["state"] for run in plan["runs"]] == ["complete"] * 5
    assert plan["arms"][1]["steps"] == 4


def test_explain_names_the_origin_of_every_value(folder):
    made = paribus("plan", "tiny.yaml", "lora.r=4", "--explain", cwd=folder).stdout
    lines = {line.split()[0]: line.split()[-2:] for line in made.splitlines() if line.strip()}
    assert lines["lora.r"] == ["command", "line"]
    assert lines["training.precision"][-1].startswith("tiny.yaml:")
    assert lines["training.schedule"][-1] == "default"
    assert "lora-main: training.learning_rate" in made


def test_another_spec_in_the_same_place_is_refused(first, folder):
    refused = paribus("run", "tiny.yaml", "training.learning_rate=0.5", cwd=folder)
    assert refused.returncode == 2
    assert "differs from this one" in refused.stderr
    assert "training.learning_rate: 0.001 → 0.5" in refused.stderr
    assert "name=" in refused.stderr


def test_status_and_report_read_only_the_store(first, folder):
    status = paribus("status", cwd=folder)
    assert status.stdout.count("complete") == 5
    rows = json.loads(paribus("status", "tiny.yaml", "--json", cwd=folder).stdout)
    assert {row["state"] for row in rows} == {"complete"}
    page = folder / "runs" / "tiny" / "report" / "index.html"
    page.unlink()
    made = paribus("report", "runs/tiny", cwd=folder)
    assert made.returncode == 0
    assert "Does the path work?" in page.read_text()


def test_interrupted_and_gone_on(folder):
    """Ctrl-C in the middle: what is finished stays, and the same command does the rest."""
    words = ["run", "tiny.yaml", "--runs", "stopped"]
    done = folder / "stopped" / "tiny" / "baseline" / "seed-0" / "manifest.json"
    begun = folder / "stopped" / "tiny" / "full-main" / "seed-0" / "spec.json"
    with meanwhile(begun.exists, ctrl_c):
        stopped = paribus(*words, cwd=folder)
    assert stopped.returncode == 130
    assert "paribus run tiny.yaml --runs stopped" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    kept = done.stat().st_mtime_ns
    gone_on = paribus(*words, cwd=folder)
    assert gone_on.returncode == 0, gone_on.stderr
    assert done.stat().st_mtime_ns == kept
    assert len(list((folder / "stopped").glob("*/*/seed-*/manifest.json"))) == 5


def test_interrupted_runs_end_in_the_same_bytes(first, folder):
    for arm in ARMS:
        one, other = (
            next((folder / root / "tiny" / arm / "seed-0" / "generations").iterdir())
            for root in ("runs", "stopped")
        )
        assert one.read_bytes() == other.read_bytes()


def test_a_failed_run_leaves_the_others_and_exits_with_1(folder):
    """A learning rate that blows up: the run fails with its step, the rest is run and reported."""
    values = ["name=blown", "matrix={}", "method=full", "training.learning_rate=1e30"]
    values += ["data.train_size=8", "training.schedule=constant", "training.warmup=0"]
    failed = paribus("run", "tiny.yaml", *values, cwd=folder)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "full-main/seed-0" in failed.stdout
    assert "1 of 2 runs failed" in failed.stderr
    states = json.loads(paribus("status", "runs/blown", "--json", cwd=folder).stdout)
    assert [(row["arm"], row["state"]) for row in states] == [
        ("baseline", "complete"),
        ("full-main", "failed"),
    ]
    assert "step" in states[1]["error"]


@pytest.mark.slow
def test_a_killed_run_is_a_failed_run_and_the_others_go_on(tiny, tmp_path, monkeypatch):
    """As the kernel does when memory runs out; and with processes started as beside a GPU."""
    from paribus.config.load import load
    from paribus.design.matrix import expand
    from paribus.running import isolated
    from paribus.running.local import run_experiment
    from paribus.store.layout import ExperimentFolder
    from paribus.store.runs import RunState, state

    monkeypatch.setattr(isolated, "_may_have_gpu", lambda: True)
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False))
    loaded = load(file, ["matrix.method=[lora]", "baseline=null"])

    def kill_main(spec, progress):
        if spec.arm == "lora-main" and progress.stage == "training":
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    outcome = run_experiment(loaded, expand(loaded), tmp_path / "runs", kill_main, lambda *_: None)
    assert [spec.title for spec, _ in outcome.failed] == ["lora-main seed 0"]
    assert "out-of-memory" in outcome.failed[0][1]
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    assert state(folder.run("lora-main", 0)) is RunState.FAILED
    assert state(folder.run("lora-socratic", 0)) is RunState.COMPLETE


@pytest.mark.slow
def test_no_room_for_the_weights_stops_with_a_remedy(folder):
    values = ["name=full", "matrix={}", "method=full", "training.max_steps=1", "baseline=null"]
    size = (100_000, 100_000)
    stopped = outside.paribus(
        *("run", "tiny.yaml", *values),
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, size),
    )
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert "cannot write" in stopped.stderr
    assert "→" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not list((folder / "runs" / "full").rglob("manifest.json"))
    gone_on = paribus("run", "tiny.yaml", *values, cwd=folder)
    assert gone_on.returncode == 0, gone_on.stderr


def test_tensorboard_gets_the_figures(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = ["name=tracked", "matrix={}", "training.trackers=[tensorboard]", "baseline=null"]
    made = paribus("run", "tiny.yaml", *values, cwd=folder)
    assert made.returncode == 0, made.stderr
    run = folder / "runs" / "tracked" / "lora-main" / "seed-0"
    (logs,) = {path.parent for path in run.rglob("events.out.tfevents.*")}
    read = EventAccumulator(str(logs)).Reload()
    steps = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in steps if step["event"] == "step"]
    assert [point.value for point in read.Scalars("train/loss")] == pytest.approx(losses, rel=1e-4)
    assert len(read.Scalars("train/examples_per_second")) == len(losses) - 1  # not the first
    assert read.Scalars("train/peak_memory_gb")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "tiny.yaml", "training.lerning_rate=1"], "training.learning_rate"),
        (["run", "tiny.yaml", "model=/no/such/model", "name=x"], "/no/such/model"),
        (["run", "tiny.yaml", "model=google/gemma-2b-it", "name=x"], "hf download"),
        (["run", "tiny.yaml", "task=gsm8k", "data.path=nowhere", "name=x"], "train.jsonl"),
        (["run", "tiny.yaml", "data.train_size=100000", "name=x"], "train_size"),
        (["run", "tiny.yaml", "prompt.max_tokens=50", "name=x"], "prompt.max_tokens=337"),
        (["run", "tiny.yaml", "baseline=null", "prompt.max_tokens=190", "name=x"], "too_long=drop"),
        (["run", "tiny.yaml", "evaluation.max_new_tokens=4000", "name=x"], "2048"),
        (["run", "tiny.yaml", "contrasts=[[full-main,lora-mian]]", "name=x"], "lora-main"),
        (["report", "runs/nothing"], "nothing"),
        (["run", "tiny.yaml", "--runs", "tiny.yaml/runs"], "tiny.yaml"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_mistakes_get_one_clear_message_and_exit_code_2(words, expected, folder):
    made = paribus(*words, cwd=folder)
    assert made.returncode == 2, made.stdout + made.stderr
    assert made.stderr.startswith("error: ")
    assert expected in made.stderr
    assert "→" in made.stderr
    assert "Traceback" not in made.stderr
    assert not (folder / "runs" / "x").exists()


def test_a_run_imports_no_statistics():
    """They would be 100 MB of every run's peak."""
    code = "import sys, paribus.running.preload; print(sorted(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "paribus.planning.rules.design" in made.stdout
    assert not {"scipy.stats", "paribus.statistics.power", "matplotlib"} & set(
        made.stdout.split("'")
    )


def test_help_and_report_import_nothing_heavy():
    heavy = {"torch", "transformers", "peft", "datasets", "ray", "bitsandbytes"}
    modules = ["cli.main", "cli.plan", "cli.status", "cli.report", "report.page", "cli.run"]
    code = (
        f"import importlib, sys\nfor module in {modules}:\n"
        "    importlib.import_module(f'paribus.{module}')\n"
        f"    print(module, *({heavy!r} & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.stdout.splitlines() == modules, made.stderr
