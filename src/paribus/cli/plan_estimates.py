"""What a plan says of memory and time, as `--json` prints it: bytes, seconds, counts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from paribus.errors import OutOfMemory, RunFailed
from paribus.experiment.forecast import Forecast, alternatives, forecast
from paribus.experiment.matrix import Design
from paribus.experiment.rehearsal import correct, rehearse
from paribus.experiment.survey import Prospect
from paribus.planning.memory import Parts


def estimate_row(found: Forecast) -> dict[str, Any]:
    """Return a forecast as it is printed: bytes, seconds, counts."""
    memory, training = found.memory, found.config.training
    trains = found.load.steps > 0
    return {
        "parameters": memory.total_parameters,
        "trainable_parameters": memory.trainable_parameters,
        "micro_batch": training.pass_size if trains else None,
        "accumulation": found.load.accumulation if trains else None,
        "checkpointing": found.load.checkpointing if trains else None,
        "training": _parts(memory.training),
        "evaluation": _parts(memory.evaluation),
        "kv_cache_bytes": found.kv_cache_bytes,
        "peak_bytes": memory.peak_bytes,
        "fits": found.fits,
        "fits_with_a_tenth_to_spare": found.fits_easily,
        "examples_per_second": found.speed.train_examples_per_second if trains else None,
        "train_seconds": found.speed.train_seconds,
        "eval_seconds": found.speed.eval_seconds,
        "assumed_lengths": found.lengths.assumed or None,
    }


def other_ways(prospects: Sequence[Prospect]) -> list[dict[str, Any]]:
    """Return the other ways to train each model: from its first arm that trains."""
    firsts: dict[str, Prospect] = {}
    for one in prospects:
        if one.forecast and one.forecast.load.steps:
            firsts.setdefault(one.forecast.config.model, one)
    rows = []
    for model, one in firsts.items():
        assert one.forecast is not None
        assert one.shape is not None
        for config in alternatives(one.forecast.config):
            other = forecast(config, one.inputs, one.first.stream, one.shape, one.forecast.device)
            rows.append(
                {
                    "model": model,
                    "method": config.method,
                    "quantization": config.quantization,
                    "optimizer": config.training.optimizer,
                    **estimate_row(other),
                }
            )
    return rows


def total_seconds(design: Design, arms: Sequence[dict[str, Any]]) -> float | None:
    """Return the time of all runs and trials, complete ones included; None if one is unknown."""
    rows = {arm["name"]: arm["estimate"] for arm in arms if arm["estimate"]}
    names = [spec.arm for spec in (*design.trials, *design.runs)]
    if not rows.keys() >= set(names):
        return None
    return sum(float(rows[n]["train_seconds"] + rows[n]["eval_seconds"]) for n in names)


def probe_arms(
    arms: Sequence[dict[str, Any]], prospects: Sequence[Prospect], console: Console
) -> None:
    """Measure every arm and correct its estimate, in place; what stops a probe is said."""
    for arm, prospect in zip(arms, prospects, strict=True):
        if prospect.inputs is None or prospect.forecast is None:
            continue
        with console.status(f"probing {prospect.arm}"):
            try:
                found = rehearse(prospect)
            except RunFailed as error:
                arm["probe"] = {"error": error.message}
                arm["estimate"]["fits"] &= not isinstance(error, OutOfMemory)
            else:
                arm["probe"] = {**asdict(found), "error": None}
                arm["estimate"] |= asdict(correct(prospect, found))


def _parts(parts: Parts | None) -> dict[str, int] | None:
    if parts is None:
        return None
    sizes: dict[str, int] = asdict(parts)
    return {**sizes, "total": sum(sizes.values())}
