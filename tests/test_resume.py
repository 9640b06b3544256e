"""Interrupted equals uninterrupted, bit for bit: weights, optimizer, losses, texts, result.

Compared at tolerance zero are whole run folders and whole checkpoints, clock readings left out.
"""

import signal
from pathlib import Path
from typing import Any

import pytest

from interrupted import NEVER, checkpoint, content, run_until, spec_of
from paribus.config.spec import RunSpec
from paribus.running.progress import Progress
from paribus.store.layout import RunFolder

FULL: dict[str, Any] = {"method": "full"}
LORA = {"method": "lora", "lora.dropout": 0.3, "lora.r": 4}
ARMS: dict[str, dict[str, Any]] = {
    "full": FULL,
    "lora with dropout": LORA,
    "8-bit AdamW, accumulated": {**FULL, "training.optimizer": "adamw_8bit",
                                 "training.micro_batch": 2},
    "baseline": {"method": "none", "evaluation.also": ["zero_shot/raw+calculator"]},
    "accumulated": {**FULL, "training.micro_batch": 2},
    "8-bit AdamW, lora, fp32": {**LORA, "training.optimizer": "adamw_8bit",
                                "training.precision": "fp32"},
    "Adafactor": {**FULL, "training.optimizer": "adafactor"},
    "SGD": {**FULL, "training.optimizer": "sgd"},
    "8-bit Lion, lora": {**LORA, "training.optimizer": "lion_8bit"},
    "DoRA, embedding": {**LORA, "lora.use_dora": True, "lora.modules_to_save": ["embed_tokens"],
                        "lora.layers_to_transform": [1]},
    "PiSSA": {**LORA, "lora.init_lora_weights": "pissa"},
    "EVA": {**LORA, "lora.init_lora_weights": "eva"},
    "Lion, noise": {**LORA, "training.optimizer": "lion", "training.neftune_noise_alpha": 5.0},
    "Muon": {**FULL, "training.optimizer": "muon"},
    "RMSprop, LoRA+": {**LORA, "training.optimizer": "rmsprop", "lora.loraplus_lr_ratio": 16.0},
    "partly trained": {**FULL, "training.train_only": ["lm_head", "layers[.]1[.]mlp"]},
    "VeRA": {"method": 'VERA {"r": 8}', "matrix": {"method": [{"peft": "VeRA", "r": 8}]}},
    "recomputed": {**LORA, "training.checkpointing": True},
}  # fmt: skip

STEPS = 6
PROBED, STEPPED = 2, 1  # reports before the first step: of a new run, of one that continues


def begin(root: Path, tiny: Path, values: dict[str, Any]) -> tuple[RunSpec, RunFolder]:
    """A store for one run alone: beside another a baseline would be copied."""
    root.mkdir()
    spec = spec_of(tiny, root, values)
    return spec, RunFolder(root / "runs" / "tiny" / spec.arm / "seed-0")


def stages(reports: list[Progress]) -> list[str]:
    return [f"{each.stage} {each.done}" for each in reports if each.note is None]


def marked(quick: list[str], others: list[str]) -> list[Any]:
    """Every arm counts; those that take a minute more are marked slow."""
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


LORA_ARM, BASELINE = "lora with dropout", "baseline"  # random numbers; no training


@pytest.mark.parametrize(
    "name",
    marked([LORA_ARM, BASELINE], [name for name in ARMS if name not in {LORA_ARM, BASELINE}]),
)
def test_interrupted_equals_uninterrupted(tiny, tmp_path, name, record_property):
    """At a step in mid-epoch, at the last, within a piece of tests and after it, at the end."""
    spec, folder = begin(tmp_path / "whole", tiny, ARMS[name])
    seen = stages(run_until(spec, folder))
    expected = content(folder)
    wanted = [f"training {STEPS // 2}", f"training {STEPS}", "testing 5", "testing 18", seen[-1]]
    signals = [signal.SIGTERM, signal.SIGKILL] * 3  # asked to stop, killed
    record_property("tried", len(list(filter(seen.count, wanted))))
    for moment, number in zip(filter(seen.count, wanted), signals, strict=False):
        spec, folder = begin(tmp_path / moment, tiny, ARMS[name])
        run_until(spec, folder, seen.index(moment) + 1, number)
        assert not folder.manifest.exists(), moment
        run_until(spec, folder)
        assert content(folder) == expected, moment


@pytest.mark.parametrize(
    "name", marked(["full"], [name for name in ARMS if name not in {"full", BASELINE}])
)
def test_interrupted_at_every_step(tiny, tmp_path, name, record_property):
    record_property("tried", STEPS)
    spec, folder = begin(tmp_path / "whole", tiny, ARMS[name])
    run_until(spec, folder)
    expected = content(folder)
    spec, folder = begin(tmp_path / "often", tiny, ARMS[name])
    kept = []
    for step in range(STEPS):
        run_until(spec, folder, 1 + (STEPPED if step else PROBED), signal.SIGTERM)
        kept.append(latest(folder))
    run_until(spec, folder)
    assert kept == [1, 2, 3, 4, 5, 6]
    assert content(folder) == expected


def latest(folder: RunFolder) -> int | None:
    steps = [int(path.name.split("-")[1]) for path in folder.checkpoints.glob("step-*")]
    return max(steps, default=None)


@pytest.mark.parametrize("name", marked([LORA_ARM], ["full", "8-bit AdamW, accumulated"]))
def test_whole_checkpoints_are_equal(tiny, tmp_path, name):
    """Optimizer, schedule, generators of random numbers, weights: compared byte by byte."""
    made = []
    for stops in ([5], [2, 3, 5]):
        spec, folder = begin(tmp_path / f"x{len(stops)}", tiny, ARMS[name])
        before = 0
        for step in stops:
            moment = step - before + (STEPPED if before else PROBED)
            run_until(spec, folder, moment, signal.SIGTERM)
            before = step
        made.append({path.name: checkpoint(path) for path in folder.checkpoints.glob("step-*")})
    assert [name.split("-")[1] for name in sorted(made[0])] == ["000004", "000005"]
    assert made[0] == made[1]
    assert {"weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"} <= {
        file for each in made[0].values() for file in each
    }


def test_what_is_done_is_not_done_again(tiny, tmp_path):
    """Counted: steps trained, problems tested. A request to stop loses nothing of a step."""
    spec, folder = begin(tmp_path / "x", tiny, FULL)
    first = run_until(spec, folder, PROBED + 3, signal.SIGTERM)
    assert stages(first)[-1] == "training 3"
    second = run_until(spec, folder, 1 + 3 + 1 + 17, signal.SIGKILL)  # one more than a piece of 16
    trained = [each for each in stages(second) if each.startswith("training")]
    assert trained == ["training 4", "training 5", "training 6"]
    assert not any(each.startswith("probing") for each in stages(second))
    third = run_until(spec, folder, NEVER)
    tested = [each.done for each in third if each.stage == "testing"]
    assert tested == [16, 17, 18, 19, 20]
    assert not any(each.stage == "training" for each in third)
    assert not folder.checkpoints.exists()
    assert not folder.pieces.exists()
