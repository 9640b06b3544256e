"""How many validation problems it takes to choose a checkpoint: measured on the packaged model.

    python benchmarks/checkpoints.py full 5e-5        # 6 minutes on a CPU with AMX
    {"method": "full", "losses": [0.61, …], "agrees": {"25": 0.62, …}, "regret": {"25": 0.004, …}}

One arm is trained on 48 generated problems, and after every 5th of 30 steps the loss of each of 120
validation problems is taken. Then 2,000 times n of them, drawn with replacement, choose the moment
with the lowest loss. `agrees`: how often that is the moment that all 120 choose. `regret`: how much
higher the loss of all 120 is at the moment that was chosen, in nats per token, on average.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.evaluation.engine.likelihood import likelihoods
from paribus.models.device import compute_dtype, default_device
from paribus.models.load import as_tested, load_model, make_trainable
from paribus.planning.prepare import prepare
from paribus.seeds import derive
from paribus.training.train import StepRecord, train

EVERY, PROBLEMS, DRAWS = 5, 120, 2000
SIZES = (10, 25, 50, 100)
EXPERIMENT = f"""
model: gemma-3-270m
data: {{train_size: 48, test_size: 10, validation_size: {PROBLEMS}}}
training: {{epochs: 5, batch_size: 8, micro_batch: 8, precision: bf16}}
evaluation: {{at: [each_epoch]}}
"""


def measured(method: str, rate: float, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return losses [moments, problems], summed over tokens, and tokens [problems]."""
    file = folder / "checkpoints.yaml"
    file.write_text(EXPERIMENT)
    loaded = load(file, [f"method={method}", f"training.learning_rate={rate}"])
    spec = next(run for run in expand(loaded).runs if run.config.method == method)
    config, device = spec.config, default_device()
    compute = compute_dtype(config.training.computes_in, device)
    inputs = prepare(config, spec.seed)
    assert inputs.validation is not None
    gold = inputs.validation.gold
    torch.manual_seed(derive(spec.stream, "init"))
    model = load_model(inputs.source, compute, device)
    model = make_trainable(model, method, config.lora, compute)
    rows: list[list[float]] = []

    def validate(records: list[StepRecord]) -> dict[str, float]:
        if records[-1].step % EVERY == 0:
            with as_tested(model, compute):
                found = likelihoods(
                    model, gold, [""] * len(gold), batch_size=16, on_batch=lambda _: None
                )
            rows.append([row.nll or 0.0 for row in found])
            print(records[-1].step, sum(rows[-1]), file=sys.stderr)
        return {}

    train(
        model,
        inputs.examples,
        config.training,
        seed=spec.stream,
        compute=compute,
        folder=folder,
        on_step=lambda _: None,
        validate=validate,  # type: ignore[arg-type]
    )
    return np.array(rows), np.array([example.target_length for example in gold])


def main(method: str, rate: float) -> None:
    """Print what was measured, as JSON."""
    with TemporaryDirectory() as folder:
        losses, tokens = measured(method, rate, Path(folder))
    whole = losses.sum(axis=1) / tokens.sum()
    random = np.random.default_rng(0)
    agrees, regret = {}, {}
    for size in SIZES:
        draws = [random.integers(PROBLEMS, size=size) for _ in range(DRAWS)]
        chosen = [(losses[:, some].sum(axis=1) / tokens[some].sum()).argmin() for some in draws]
        agrees[size] = float(np.mean(np.array(chosen) == whole.argmin()))
        regret[size] = float(whole[chosen].mean() - whole.min())
    print(json.dumps({"method": method, "learning_rate": rate, "losses": whole.tolist(),
                      "agrees": agrees, "regret": regret}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
