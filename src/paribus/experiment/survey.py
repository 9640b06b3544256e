"""What is known of every arm before anything is spent: inputs, the model's shape, a forecast.

`plan` goes on where something cannot be had (no network, a gated model) and says what is missing;
`run` stops there. Both ask here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paribus.config.spec import RunSpec
from paribus.errors import ModelError, NotHere, UserError
from paribus.evaluation.gold import check_gold
from paribus.experiment.arms import Arm
from paribus.experiment.fitting import fit
from paribus.experiment.forecast import Forecast, forecast
from paribus.experiment.matrix import Design
from paribus.experiment.tuning import known_rates, with_rates
from paribus.models.shapes import Shape, shape_of
from paribus.models.source import find_model
from paribus.planning.devices import Device, timed
from paribus.planning.inputs import Inputs, prepare
from paribus.store.layout import ExperimentFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known of one arm before it runs.

    Attributes:
        arm: its name.
        first: its first run.
        inputs: what it reads; None if model or data are not here.
        shape: of its model; None if not known.
        forecast: of its first run; None without a shape.
        unknown: why inputs or shape are missing, or None.
        fault: why there are no inputs, so that a run would stop here; or None.
    """

    arm: str
    first: RunSpec
    inputs: Inputs | None
    shape: Shape | None
    forecast: Forecast | None
    unknown: UserError | None
    fault: UserError | None


def settle_design(design: Design, folder: ExperimentFolder, device: Callable[[], Device]) -> Design:
    """Return the design with what earlier runs or the device decide: `auto`, learning rates.

    `device` is asked only if something is left to choose.
    """
    seed = design.runs[0].seed

    def inputs_of(arm: Arm) -> Inputs | None:
        try:
            return prepare(arm.config, seed)
        except UserError:  # lengths are assumed; whoever runs the arm is told when it is surveyed
            return None

    design = fit(design, folder, device, inputs_of)
    return with_rates(design, known_rates(design, folder))


def precisions(design: Design) -> set[str]:
    """Return what the arms of a settled design compute in."""
    return {arm.config.training.computes_in for arm in design.arms}


def survey(design: Design, device: Device, prepare: Callable[[Arm], Inputs]) -> list[Prospect]:
    """Return what is known of each arm of a settled design; `prepare` makes an arm's inputs.

    A `device` that is this machine's is timed first, where that was not done yet.
    Raises ModelError if an arm's model is a folder without a config.json: nothing can fetch that;
    DataError if arms read different gold answers to one question.
    """
    device = timed(device, precisions(design))
    prospects = []
    for arm in design.arms:
        first = next(run for run in design.runs if run.arm == arm.name)
        inputs, shape, fault = None, None, None
        try:
            inputs = prepare(arm)
        except UserError as error:
            fault = error
            folder = Path(arm.config.model)
            if folder.is_absolute() and not (folder / "config.json").exists():
                find_model(arm.config.model, None)
        unknown = fault
        try:
            # A model that is here is read where it lies.
            model = str(inputs.source.path) if inputs else arm.config.model
            shape = shape_of(model, arm.config.revision)
        except UserError as error:
            # Of a model that cannot be had it names the nearest that are known.
            unknown = error if fault is None or isinstance(fault, (ModelError, NotHere)) else fault
        found = forecast(arm.config, inputs, first.stream, shape, device) if shape else None
        prospects.append(
            Prospect(
                arm=arm.name,
                first=first,
                inputs=inputs,
                shape=shape,
                forecast=found,
                unknown=unknown,
                fault=fault,
            )
        )
    _check_gold_between(prospects)
    return prospects


def _check_gold_between(prospects: Sequence[Prospect]) -> None:
    """Raise DataError if arms of different data read different gold answers to one question."""
    read = {each.first.config.data: each.inputs.problems.read for each in prospects if each.inputs}
    if len(read) > 1:
        check_gold([problem for problems in read.values() for problem in problems])
