"""What a plan says of memory and time, as `--json` prints it: bytes, seconds, counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from paribus.config.spec import RunSpec
from paribus.errors import OutOfMemory, ParibusError
from paribus.experiment.forecast import Forecast, alternatives, forecast
from paribus.experiment.preflight import Warned
from paribus.experiment.rehearsal import correct, rehearse
from paribus.experiment.survey import Prospect
from paribus.planning.memory import Parts
from paribus.planning.rules.limits import room


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


def total_seconds(specs: Sequence[RunSpec], arms: Sequence[dict[str, Any]]) -> float | None:
    """Return the time that runs and trials take; None if that of one is unknown."""
    rows = {arm["name"]: arm["estimate"] for arm in arms if arm["estimate"]}
    if not rows.keys() >= {spec.arm for spec in specs}:
        return None
    return sum(
        float(rows[spec.arm]["train_seconds"] + rows[spec.arm]["eval_seconds"]) for spec in specs
    )


def refused(found: Sequence[Warned]) -> dict[str, str]:
    """Return the first rule that refuses an arm, by the names of the arms that any refuses."""
    errors = [one for one in found if one.refuses]
    return {arm: one.rule.id for one in reversed(errors) for arm in one.arms}


def probe_arms(
    arms: Sequence[dict[str, Any]],
    prospects: Sequence[Prospect],
    skipped: Mapping[str, str],
    console: Console,
) -> dict[str, int | None]:
    """Measure every arm and correct its estimate, in place; what stops a probe is said.

    Returns the measured peaks in bytes, None where a probe ran out of memory. `skipped` arms are
    not probed: it holds the rule that refuses each.
    """
    peaks: dict[str, int | None] = {}
    for arm, prospect in zip(arms, prospects, strict=True):
        if prospect.arm in skipped:
            arm["probe"] = _stopped(f"not probed: {skipped[prospect.arm]}")
            continue
        if prospect.inputs is None or prospect.forecast is None:
            continue
        with console.status(f"probing {prospect.arm}"):
            try:
                found = rehearse(prospect)
            except ParibusError as error:
                arm["probe"] = _stopped(error.message, error.remedy)
                if isinstance(error, OutOfMemory):
                    peaks[prospect.arm] = None
                    arm["estimate"] |= {"fits": False, "fits_with_a_tenth_to_spare": False}
                continue
        right = correct(prospect, found)
        most = room(prospect.forecast.device)
        peaks[prospect.arm] = right.peak_bytes
        arm["probe"] = {**asdict(found), "error": None, "remedy": None}
        arm["estimate"] |= asdict(right)
        arm["estimate"]["fits_with_a_tenth_to_spare"] = right.peak_bytes <= most
    return peaks


def _stopped(error: str, remedy: str = "") -> dict[str, Any]:
    return {"error": error, "remedy": remedy or None}


def _parts(parts: Parts | None) -> dict[str, int] | None:
    if parts is None:
        return None
    sizes: dict[str, int] = asdict(parts)
    return {**sizes, "total": sum(sizes.values())}
