"""One run on several ranks: two processes of gloo on the CPU against one, from outside."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facts import CPU, GEMMA_2B, facts
from outside import hear_all, paribus, until
from paribus.config.schema import TrainingConfig
from paribus.errors import UserError
from paribus.models.ranks import take_gpu
from paribus.planning.forecast import forecast
from paribus.planning.rules.cards import card
from paribus.store.checkpoints import newest_step
from paribus.testing.tiny import write_tiny_model
from paribus.training.batching import fullest_passes, order_seed, plan_training, share_of
from training_cases import word_problems

SETTINGS = {
    "task": "wordproblems", "seeds": 1, "lora": {"dropout": 0.0},
    "data": {"train_size": 24, "test_size": 10},
    "training": {"precision": "fp32", "batch_size": 4, "micro_batch": 1, "learning_rate": 1e-3,
                 "checkpoint_minutes": 0.0},
    "evaluation": {"batch_size": 2, "max_new_tokens": 12},
}  # fmt: skip


def experiment(folder: Path, methods: dict[str, dict[str, Any]], epochs: float) -> Path:
    """A tiny experiment, and the model it is about."""
    model = write_tiny_model(folder / "tiny")
    training = {**SETTINGS["training"], "epochs": epochs}
    values = {**SETTINGS, "name": "tiny", "model": str(model), "training": training}
    file = folder / "tiny.yaml"
    file.write_text(json.dumps({**values, "matrix": {"method": methods}}))
    return file


def on_ranks(number: int, *words: str, cwd: Path) -> "subprocess.Popen[str]":
    """Start `paribus run` on so many ranks, in a group of its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, f"--nproc-per-node={number}", "-m", "paribus", *words]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd, text=True, start_new_session=True, preexec_fn=hear_all, env=quiet, **pipes
    )


def run_on(number: int, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    running = on_ranks(number, *words, cwd=cwd)
    out, errors = running.communicate()
    return subprocess.CompletedProcess(words, running.returncode, out, errors)


def steps(run: Path) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [(e["loss"], e["grad_norm"]) for e in events if e["event"] == "step"]


def texts(run: Path) -> dict[str, list[str]]:
    files = sorted((run / "generations").iterdir())
    return {f.name: [json.loads(row)["text"] for row in f.read_text().splitlines()] for f in files}


def losses(run: Path) -> list[float]:
    """Of the gold solutions."""
    return [json.loads(row)["nll"] for row in (run / "heldout.jsonl").read_text().splitlines()]


def assert_same(one: Path, other: Path) -> None:
    """Both runs trained and answered alike, but for rounding."""
    assert len(steps(one)) == len(steps(other)) > 0
    for ours, theirs in zip(steps(one), steps(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert texts(one) == texts(other)
    assert losses(one) == pytest.approx(losses(other), rel=1e-5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A folder with an experiment, run by one process into the store `one`.

    Full SFT recomputes activations; four passes make a step.
    """
    folder = tmp_path_factory.mktemp("alone")
    file = experiment(folder, {"full": {"training.checkpointing": True}, "lora": {}}, epochs=1)
    run = paribus("run", str(file), "--runs", "one", cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_ranks_train_and_answer_as_one_process(alone, parallel):
    file = str(alone / "tiny.yaml")
    both = run_on(2, "run", file, "--runs", parallel, "--parallel", parallel, cwd=alone)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("lora seed 0: complete") == 1  # one of the two speaks
    one, two = (alone / store / "tiny" for store in ("one", parallel))
    for arm in ("full", "lora"):
        assert_same(one / arm / "seed-0", two / arm / "seed-0")
    assert texts(one / "baseline/seed-0") == texts(two / "baseline/seed-0")
    specs = [json.loads((run / "lora/seed-0/spec.json").read_text()) for run in (one, two)]
    found = [spec["environment"].get("ranks") for spec in specs]
    assert found == [None, "2" if parallel == "ddp" else "2, sharded"]
    assert specs[0]["fingerprint"] == specs[1]["fingerprint"]
    checked = paribus("verify", parallel, cwd=alone)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_rank_that_is_killed_stops_all_and_the_run_resumes_as_if_undisturbed(parallel, tmp_path):
    file = experiment(tmp_path, {"full": {}}, epochs=8)
    run = tmp_path / "killed/tiny/full/seed-0"
    words = ("run", str(file), "--parallel", parallel, "--runs")
    running = on_ranks(2, *words, "killed", cwd=tmp_path)
    until(lambda: (newest_step(run / "checkpoints") or 0) >= 3, running)
    os.kill(_process_of(1, running.pid), signal.SIGKILL)
    _, errors = running.communicate()
    assert running.returncode != 0
    assert "resume with:" in errors
    assert not (run / "failure.json").exists()
    done = newest_step(run / "checkpoints")
    again = run_on(2, *words, "killed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f'"resumed", "step": {done}' in (run / "events.jsonl").read_text()
    undisturbed = run_on(2, *words, "whole", cwd=tmp_path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert_same(run, tmp_path / "whole/tiny/full/seed-0")


RESUMED = [  # ranks and how they train, before and after
    ((2, "ddp"), (1, "auto")),
    ((1, "auto"), (2, "ddp")),
    ((2, "fsdp"), (1, "auto")),
    ((2, "ddp"), (2, "fsdp")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), RESUMED)
def test_other_ranks_are_refused_by_name_and_fork(before, after, tmp_path):
    file = experiment(tmp_path, {"full": {}}, epochs=4)
    run = tmp_path / "runs/tiny/full/seed-0"
    running = on_ranks(before[0], "run", str(file), *_how(before), cwd=tmp_path)
    until(lambda: (newest_step(run / "checkpoints") or 0) >= 3, running)
    os.kill(_process_of(0, running.pid), signal.SIGTERM)
    running.communicate()
    assert not (run / "result.json").exists()
    again = ("run", str(file), *_how(after))
    refused = run_on(after[0], *again, cwd=tmp_path)
    assert refused.returncode != 0
    assert "ranks: " in refused.stdout + refused.stderr
    forked = run_on(after[0], *again, "--fork", cwd=tmp_path)
    assert forked.returncode == 0, forked.stderr
    whole = paribus("run", str(file), "--runs", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert_same(run, tmp_path / "whole/tiny/full/seed-0")


@pytest.mark.slow
def test_what_is_measured_in_training_and_tested_further_is_that_of_one_process(tmp_path):
    """The weights with the least loss are tested, and then on a test set that has grown."""
    chosen = {"evaluation.at": [2, 4], "evaluation.checkpoint": "best_loss",
              "data.validation_size": 6, "training.learning_rate": 0.3}  # fmt: skip
    file = str(experiment(tmp_path, {"full": chosen}, epochs=1))
    for more in ((), ("data.test_size=13",)):
        alone = paribus("run", file, *more, "--runs", "one", cwd=tmp_path)
        assert alone.returncode == 0, alone.stderr
        both = run_on(2, "run", file, *more, "--runs", "two", cwd=tmp_path)
        assert both.returncode == 0, both.stderr
    one, two = (tmp_path / store / "tiny/full/seed-0" for store in ("one", "two"))
    assert_same(one, two)
    results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
    measured = [
        [moment["heldout"]["nll_per_token"] for moment in result["validated"]] for result in results
    ]
    assert measured[0] == pytest.approx(measured[1], rel=1e-4)
    assert results[0]["tested_step"] == results[1]["tested_step"]
    assert len(losses(two)) == 13


def _how(ranks: tuple[int, str]) -> list[str]:
    return [] if ranks[0] == 1 else ["--parallel", ranks[1]]


def _process_of(rank: int, launcher: int) -> int:
    """The process of a rank, by the environment that it was started with."""
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if parent == launcher and f"RANK={rank}".encode() in variables:
            return int(place.name)
    raise AssertionError(f"the launcher {launcher} has no rank {rank}")


def test_only_run_is_started_by_a_launcher(tmp_path):
    started = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
    asked = paribus("status", cwd=tmp_path, env={**os.environ, **started})
    assert asked.returncode == 2
    assert "paribus status was started as one of several processes" in asked.stderr


@pytest.mark.parametrize(("visible", "taken"), [("", "1"), ("4,GPU-8b", "GPU-8b"), ("7, 5", "5")])
def test_a_rank_sees_its_own_gpu_alone(visible, taken, monkeypatch):
    """A stand-in for a machine with two GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert take_gpu(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == taken
    with pytest.raises(UserError, match="rank 2 of this machine has no GPU of its own: 2 can be"):
        take_gpu(2)


def test_a_rank_of_a_machine_without_gpus_takes_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert not take_gpu(1)


@pytest.mark.parametrize(
    ("ranks", "micro_batch", "shares"),
    [
        (1, 3, [[[3, 1, 4], [1, 5, 9]]]),
        (2, 3, [[[3, 1, 4]], [[1, 5, 9]]]),
        (2, 2, [[[3, 1], [4]], [[1, 5], [9]]]),
        (3, 1, [[[3], [1]], [[4], [1]], [[5], [9]]]),
    ],
)
def test_the_examples_of_a_step_are_shared_out_in_their_order(ranks, micro_batch, shares):
    step = [[3, 1, 4], [1, 5, 9]]
    assert [share_of(step, rank, ranks, micro_batch) for rank in range(ranks)] == shares


def test_a_step_that_cannot_be_divided_is_none():
    with pytest.raises(ValueError, match="6 examples cannot be divided over 4 ranks"):
        share_of([[3, 1, 4], [1, 5, 9]], 0, 4, 1)


def test_a_rank_is_predicted_what_it_holds():
    """Full SFT of Gemma 2B in bf16, one text a pass: 16 bytes of each weight, whole or in parts."""
    alone = facts({"method": "full"}, steps=100).config
    alone = replace(alone, training=replace(alone.training, batch_size=8, micro_batch=1))
    gpu = replace(CPU, kind="cuda", memory_bytes=10**12)
    kinds = ((1, "auto"), (4, "ddp"), (4, "fsdp"))
    one, ddp, fsdp = (
        forecast(alone, None, 0, GEMMA_2B, gpu.together(ranks, how)) for ranks, how in kinds
    )
    assert (one.load.accumulation, ddp.load.accumulation, fsdp.load.accumulation) == (8, 2, 2)
    assert ddp.flops == pytest.approx(one.flops)
    whole, same, part = (each.memory.training for each in (one, ddp, fsdp))
    assert (same.weights, same.optimizer) == (whole.weights, whole.optimizer)
    for kept in ("weights", "optimizer", "gradients"):
        assert getattr(part, kept) == pytest.approx(getattr(same, kept) / 4, rel=0.01)
    assert part.total < same.total / 2
    assert fsdp.memory.evaluation == ddp.memory.evaluation
    small = replace(gpu, memory_bytes=part.total * 2)  # no room for the whole model
    assert forecast(alone, None, 0, GEMMA_2B, small.together(4)).planned.sharded
    assert not forecast(alone, None, 0, GEMMA_2B, gpu.together(4)).planned.sharded


RANKS = {"device": replace(CPU, ranks=4)}
RULES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "PB091": (
        {"training.batch_size": 6, "training.micro_batch": 2},
        {"training.batch_size": 8, "training.micro_batch": 2},
        "training.batch_size=6 over 4 ranks",
    ),
    "PB092": (
        {"quantization": "nf4", "evaluation.engine": "vllm"},
        {},
        "quantization=nf4 and evaluation.engine=vllm on 4 ranks",
    ),
    "PB093": ({"lora.dropout": 0.05}, {"lora.dropout": 0.0}, "lora.dropout=0.05 on 4 ranks"),
}


def test_what_sharded_weights_are_not_trained_by():
    sharding = {"device": replace(CPU, ranks=4, parallel="fsdp")}
    asked = facts({"training.optimizer": "adafactor", "lora.use_dora": True}, **sharding)
    assert card("PB092").found(asked) == (
        "training.optimizer=adafactor with --parallel fsdp and lora.use_dora=true with "
        "--parallel fsdp on 4 ranks"
    )
    assert card("PB092").found(facts(**sharding)) is None


@pytest.mark.parametrize("id", RULES)
def test_what_several_ranks_cannot_do_or_do_otherwise(id):
    fires, near_miss, found = RULES[id]
    assert card(id).found(facts(fires, **RANKS)) == found
    assert card(id).found(facts(near_miss, **RANKS)) is None
    assert card(id).found(facts(fires)) is None  # one process does all of it


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_fullest_pass_of_a_rank_is_that_of_its_shares(ranks):
    examples = word_problems()
    config = TrainingConfig(batch_size=8, micro_batch=4, learning_rate=1e-3, epochs=3.0)
    seed = order_seed(7)
    plan = plan_training(examples, config, seed)
    passes = [
        [examples[index] for index in batch]
        for step in plan
        for rank in range(ranks)
        for batch in share_of(step, rank, ranks, config.pass_size)
    ]
    tokens = max(sum(len(example.ids) for example in batch) for batch in passes)
    targets = max(sum(example.target_length for example in batch) for batch in passes)
    lengths = [(len(example.ids), example.target_length) for example in examples]
    assert fullest_passes(lengths, config, seed, ranks) == (len(plan), tokens, targets)
