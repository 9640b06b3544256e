"""The model measured while it trains: the final weights are the same bits with and without it."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from interrupted import content, run_until, spec_of
from paribus.config.load import load
from paribus.config.spec import RunSpec, differences
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.evaluation.engine.likelihood import likelihoods, measure_likelihoods
from paribus.files import sha256_of_file
from paribus.models.load import for_inference, load_model
from paribus.models.source import ModelSource
from paribus.planning.prepare import prepare
from paribus.running.progress import Progress
from paribus.store.layout import RunFolder
from paribus.store.results import read_result
from paribus.store.runs import read_events
from paribus.store.verify import Checked, verify
from paribus.training.batching import measured_steps

FULL: dict[str, Any] = {"method": "full"}
LORA = {"method": "lora", "lora.dropout": 0.3, "lora.r": 4}
ACCUMULATED = {**FULL, "training.micro_batch": 2, "training.precision": "fp32"}
ON = {"data.validation_size": 7, "evaluation.at": [2, "each_epoch"]}
GENERATING = {**ON, "evaluation.at_generates": True}
BEST = {**FULL, **ON, "evaluation.checkpoint": "best_loss",
        "training.learning_rate": 1.0, "training.schedule": "constant"}  # fmt: skip
"""At this rate the loss rises after step 2."""
AT_STEP_3 = 2 + 2 + 7 + 1
"""Reports: before the first step, two steps, seven problems measured, the third step."""


def begin(root: Path, tiny: Path, values: dict[str, Any]) -> tuple[RunSpec, RunFolder]:
    root.mkdir()
    spec = spec_of(tiny, root, values)
    return spec, RunFolder(root / "runs" / "tiny" / spec.arm / "seed-0")


def finished(root: Path, tiny: Path, values: dict[str, Any]) -> RunFolder:
    spec, folder = begin(root, tiny, values)
    run_until(spec, folder)
    return folder


def weights(folder: RunFolder) -> dict[str, str]:
    """The hashes of the saved weights, by file."""
    return {path.name: sha256_of_file(path) for path in folder.weights.glob("*.safetensors")}


def figures(folder: RunFolder) -> list[tuple[int, float | None]]:
    """Step and loss of each measurement."""
    return [(row.step, row.loss) for row in read_result(folder.result).validated]


@pytest.mark.parametrize("arm", [FULL, LORA, pytest.param(ACCUMULATED, marks=pytest.mark.slow)])
def test_final_weights_are_the_same_bits(tiny, tmp_path, arm):
    off = finished(tmp_path / "off", tiny, {**arm, "data.validation_size": 7})
    on = finished(tmp_path / "on", tiny, {**arm, **GENERATING})
    assert weights(on) == weights(off) != {}
    steps = [[row["loss"] for row in read_events(folder, "step")] for folder in (off, on)]
    assert steps[0] == steps[1]
    assert [step for step, _ in figures(on)] == [2, 5, 6]
    assert read_result(off.result).validated == []
    last = read_result(on.result).validated[-1]
    assert last.evaluation is not None
    assert last.evaluation.problems == last.heldout.problems == 7
    assert sum(last.outcomes.values()) == 7
    assert (last.examples, last.tokens) == (24, read_tokens(on))


def read_tokens(folder: RunFolder) -> int:
    return sum(row["tokens"] for row in read_events(folder, "step"))


def test_interrupted_between_two_measurements(tiny, tmp_path):
    """Killed with step 3 done and measured at 2: the result is the same, and 2 is kept."""
    values = {**LORA, **GENERATING}
    spec, folder = begin(tmp_path / "whole", tiny, values)
    seen = run_until(spec, folder)
    third, sixth = (place(seen, "training", step) for step in (3, 6))
    moments = [(third, signal.SIGKILL), (third, signal.SIGTERM), (sixth - 2, signal.SIGKILL)]
    assert seen[sixth - 3].stage == "validating"  # the last is killed while it is measured
    for moment, number in moments:
        spec, other = begin(tmp_path / f"stopped-{moment}-{number}", tiny, values)
        run_until(spec, other, moment, number)
        assert not other.manifest.exists()
        again = run_until(spec, other)
        assert weights(other) == weights(folder)
        assert content(other) == content(folder)
        assert figures(other) == figures(folder)
        measured = [each.total for each in again if each.stage == "validating" and each.done == 0]
        assert len(measured) == 2  # texts are written after steps 5 and 6, not again after 2


def test_a_measurement_is_not_made_again(tiny, tmp_path):
    """Killed right after it, before there is a checkpoint of its step: its piece is kept."""
    values = {**FULL, **ON, "training.checkpoint_minutes": 60.0}
    spec, folder = begin(tmp_path / "x", tiny, values)
    seen = run_until(spec, folder)
    spec, folder = begin(tmp_path / "y", tiny, values)
    run_until(spec, folder, place(seen, "training", 3))
    again = run_until(spec, folder)
    assert place(again, "training", 1)  # no checkpoint: it starts over
    after = again[place(again, "training", 2) : place(again, "training", 3)]
    assert not [each for each in after if each.stage == "validating"]


def place(reports: list[Progress], stage: str, done: int) -> int:
    """Which report, from 1, first says so."""
    return next(
        number for number, each in enumerate(reports, 1) if (each.stage, each.done) == (stage, done)
    )


def loss_of(folder: RunFolder, spec: RunSpec) -> float | None:
    """The validation loss of the weights that were saved, and so tested."""
    device = torch.device("cpu")
    source = ModelSource(path=folder.weights, identity="")
    model = for_inference(load_model(source, torch.bfloat16, device), torch.bfloat16)
    validation = prepare(spec.config, spec.seed).validation
    assert validation is not None
    ids = [prompt.problem.id for prompt in validation.asked.prompts]
    _, summary = measure_likelihoods(
        lambda: likelihoods(model, validation.gold, ids, batch_size=1, on_batch=lambda _: None)
    )
    return summary.nll_per_token


def test_what_is_measured_is_what_is_tested(tiny, tmp_path):
    """The loss after the last step is that of the saved weights, to the last digit."""
    values = {**FULL, **ON}
    spec, _ = begin(tmp_path / "spec", tiny, values)
    folder = finished(tmp_path / "x", tiny, values)
    assert loss_of(folder, spec) == figures(folder)[-1][1]


def test_the_checkpoint_with_the_lowest_loss_is_tested(tiny, tmp_path):
    """Also where it was kept before the run was killed; else nothing of the training differs."""
    last = finished(tmp_path / "last", tiny, {**BEST, "evaluation.checkpoint": "last"})
    spec, folder = begin(tmp_path / "best", tiny, BEST)
    seen = run_until(spec, folder)
    losses = dict(figures(folder))
    best = min(losses, key=losses.__getitem__)
    assert best == 2
    assert read_result(folder.result).tested_step == best
    assert loss_of(folder, spec) == losses[best] < losses[6]
    assert figures(last) == figures(folder)
    assert read_result(last.result).tested_step is None
    assert weights(last) != weights(folder)
    spec, killed = begin(tmp_path / "killed", tiny, BEST)
    run_until(spec, killed, place(seen, "training", 5))
    run_until(spec, killed)
    assert content(killed) == content(folder)
    assert not killed.checkpoints.exists()


def test_a_stopped_run_keeps_its_best_weights_as_verify_wants_them(tiny, tmp_path):
    spec, folder = begin(tmp_path / "x", tiny, BEST)
    run_until(spec, folder, AT_STEP_3, signal.SIGTERM)
    kept = [path.name[:11] for path in folder.checkpoints.glob("best-*")]
    assert kept == ["best-000002"]
    checked = Checked()
    verify(folder.path, checked, lambda _: None)
    assert checked.differences == []


def test_a_fork_chooses_among_its_own_moments(tiny, tmp_path):
    """The weights of step 2, the best before the fork, are of the other run."""
    spec, folder = begin(tmp_path / "x", tiny, BEST)
    run_until(spec, folder, AT_STEP_3, signal.SIGTERM)
    slower = {**BEST, "training.learning_rate": 0.5}
    run_until(spec_of(tiny, tmp_path / "x", slower), folder, fork=True)
    losses = dict(figures(folder))
    assert list(losses) == [2, 5, 6]
    assert losses[2] < min(losses[5], losses[6])
    assert read_result(folder.result).tested_step == min((5, 6), key=losses.__getitem__)


def test_a_trial_is_never_measured_on_the_way(tiny, tmp_path):
    spec, _ = begin(tmp_path / "x", tiny, {**LORA, **ON, "tune": {}})
    design = expand(load(tmp_path / "x" / "tiny.yaml", ["tune={}", *typed(ON)]))
    assert spec.config.is_validated
    assert not any(trial.config.is_validated for trial in design.trials)
    assert "at" not in design.trials[0].identity()["evaluation"]


def typed(values: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def test_identity(tiny, tmp_path):
    """Measuring on the way is part of what a run is; a run that does not keeps its identity."""
    plain, on = (
        begin(tmp_path / name, tiny, {"data.validation_size": 7, **values})[0]
        for name, values in (("off", {}), ("on", {"evaluation.at": [2]}))
    )
    assert differences(plain.identity(), on.identity()) == [
        "data.validation_size: (absent) → 7",
        "evaluation.at: None → [2]",
    ]
    both = ["evaluation.at=[2]", typed(ON)[0], "matrix.method=[full, lora]"]
    design = expand(load(tmp_path / "on" / "tiny.yaml", both))
    factors = {(pair.a, pair.b): pair.factor for pair in design.contrasts}
    assert factors[("full", "baseline")] == "tuning"
    assert factors[("full", "lora")] == "method"
    baseline, _ = begin(tmp_path / "none", tiny, {"method": "none", **ON})
    assert not {"at", "checkpoint"} & baseline.identity()["evaluation"].keys()
    assert prepare(baseline.config, 0).validation is None
    assert "validation_sha256" not in prepare(plain.config, 0).identity()
    assert "validation_sha256" in prepare(on.config, 0).identity()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evaluation.at": ["each_epoch"]},
         "evaluation.at=['each_epoch'] measures on validation problems, and data.validation_size "
         "is 0; set data.validation_size=200"),
        ({"evaluation.checkpoint": "best_loss"},
         "evaluation.checkpoint='best_loss' needs moments at which the model is measured; set "
         "evaluation.at=[each_epoch]"),
        ({"evaluation.at_generates": True},
         "evaluation.at_generates=True needs moments at which the model is measured; set "
         "evaluation.at=[each_epoch]"),
        ({"evaluation.at": [1.5], "data.validation_size": 7}, "evaluation.at"),
        ({"evaluation.at": ["each_step"], "data.validation_size": 7}, "evaluation.at"),
    ],
)  # fmt: skip
def test_refused(tiny, tmp_path, values, message):
    with pytest.raises(ConfigError) as error:
        spec_of(tiny, tmp_path, values)
    assert message in str(error.value)


def test_a_step_behind_the_last_is_refused(tiny, tmp_path):
    spec = spec_of(tiny, tmp_path, {"evaluation.at": [7], "data.validation_size": 7})
    with pytest.raises(ConfigError, match="names step 7, and the training ends after 6") as error:
        prepare(spec.config, spec.seed)
    assert "name steps up to 6" in error.value.remedy


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        (["each_epoch", 0.25], [5, 8, 15, 20]),  # 30 examples by 4: the 8th step holds the 30th
        ([1, 20], [1, 20]),
        ([0.001], [1, 20]),
        ([7], [7, 20]),  # the end is always measured
    ],
)
def test_steps(at, steps):
    assert measured_steps(at, 20, num_examples=30, batch_size=4) == steps
