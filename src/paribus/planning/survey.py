"""What is known of every arm before it runs: `auto` settled, inputs, the model's shape, a forecast.

    choose(config, inputs, stream, shape, device)      # the fastest config that fits

`plan` continues where something is not available (no network, a gated model) and says what is
missing; `run` stops. Both use this module.

`auto` is settled for precision, micro-batch and recomputation, and by `settle` for how is tested.
The effective batch is fixed: only divisors of `batch_size` are tried. The choice is part of the
run's identity, so a choice that a stored run was made with is kept on any machine. All arms that
leave the precision open share one.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from paribus.config.peft_method import is_peft
from paribus.config.read import find_origin
from paribus.config.schema import ArmConfig, Precision
from paribus.config.spec import RunSpec, made_alike
from paribus.data.gold import normalized_question, refuse_two_golds
from paribus.design.arms import Arm
from paribus.design.matrix import Design
from paribus.design.spaces import Search
from paribus.design.trials import with_values
from paribus.errors import ConfigError, ModelError, NotHere, UserError
from paribus.files import read_json
from paribus.models.quiet import quiet_libraries
from paribus.models.shapes import Shape, shape_of
from paribus.models.source import find_model
from paribus.planning.devices import Device, timed
from paribus.planning.forecast import Forecast, forecast
from paribus.planning.inputs import Inputs
from paribus.planning.prepare import prepare
from paribus.planning.search import require_optuna
from paribus.planning.settle import Change, settle_tests, with_changes
from paribus.planning.tuning import known_values, with_begun, with_chosen
from paribus.store.layout import ExperimentFolder

_SIZES = ("micro_batch", "checkpointing")


def is_open(config: ArmConfig) -> bool:
    """Return whether `config` leaves its passes to be chosen: one that trains nothing has none."""
    return config.method != "none" and any(
        getattr(config.training, key) == "auto" for key in _SIZES
    )


def fit(
    design: Design,
    folder: ExperimentFolder,
    device: Callable[[], Device],
    inputs_of: Callable[[Arm], Inputs | None],
) -> Design:
    """Return the design with every `auto` settled: as stored, else the fastest that fits `device`.

    `device` and `inputs_of` are asked only if something is open; where `inputs_of` returns None,
    lengths are assumed. Raises ModelError if a model's shape is not known.
    """
    design = _with_precision(design, folder, device)
    design = settle_tests(design, folder, device, inputs_of)
    changes: dict[str, Change] = {}
    for arm in (candidate for candidate in design.arms if is_open(candidate.config)):
        specs = [spec for spec in (*design.trials, *design.runs) if spec.arm == arm.name]
        stored = _stored(specs, folder)
        if stored is None:
            shape = shape_of(arm.config.model, arm.config.revision)
            stream = next(spec.stream for spec in specs if not spec.trial)
            target = timed(device(), {arm.config.training.computes_in})
            stored = choose(arm.config, inputs_of(arm), stream, shape, target)
        changes[arm.name] = partial(_settled, like=stored)
    return with_changes(design, changes)


def native_precision(device: Device) -> Precision:
    """Return what `training.precision: auto` means on `device`."""
    return "bf16" if device.bf16 else "fp32"


def _with_precision(
    design: Design, folder: ExperimentFolder, device: Callable[[], Device]
) -> Design:
    """Return the design with one precision for all arms that leave it open."""
    arms = {arm.name for arm in design.arms if arm.config.training.precision == "auto"}
    if not arms:
        return design
    specs = [spec for spec in (*design.runs, *design.trials) if spec.arm in arms]
    precision = _stored_precision(specs, folder) or native_precision(device())

    def settle(config: ArmConfig) -> ArmConfig:
        return replace(config, training=replace(config.training, precision=precision))

    return with_changes(design, dict.fromkeys(arms, settle))


def _stored_precision(specs: list[RunSpec], folder: ExperimentFolder) -> Precision | None:
    """Return what the first of `specs` that was begun before computes in, if any was.

    Other settings of it may differ: whether that is refused or forked is decided elsewhere.
    """
    for spec in specs:
        path = folder.of(spec).spec
        if path.exists():
            training = read_json(path)["identity"].get("training", {})
            # Of an arm that trains nothing bf16 goes without saying: config/spec.
            return "fp32" if training.get("precision") == "fp32" else "bf16"
    return None


def choose(
    config: ArmConfig, inputs: Inputs | None, stream: int, shape: Shape, device: Device
) -> ArmConfig:
    """Return `config` with the fastest setting that leaves a tenth of the memory free.

    Where none does, the one that takes least: whether that still fits is for the plan to say.
    """
    tried = [forecast(setting, inputs, stream, shape, device) for setting in _settings(config)]
    fitting = [option for option in tried if option.fits_easily]
    if not fitting:
        return min(tried, key=lambda option: option.memory.peak_bytes).config
    return max(fitting, key=_merit).config


def _merit(option: Forecast) -> tuple[float, int]:
    """Faster is better; of two as fast, the one with fewer passes."""
    return option.speed.train_examples_per_second, option.config.training.pass_size


def _settings(config: ArmConfig) -> list[ArmConfig]:
    training = config.training
    sizes = [n for n in range(1, training.batch_size + 1) if training.batch_size % n == 0]
    return [
        replace(config, training=replace(training, micro_batch=size, checkpointing=recompute))
        for size in (sizes if training.micro_batch == "auto" else [training.pass_size])
        for recompute in (
            [False, True] if training.checkpointing == "auto" else [training.recomputes]
        )
    ]


def _stored(specs: list[RunSpec], folder: ExperimentFolder) -> ArmConfig | None:
    """Return a config of the arm as a run in the store has settled it, if only that differs."""
    for spec in specs:
        path = folder.of(spec).spec
        if not path.exists():
            continue
        stored = read_json(path)
        for setting in _settings(spec.config):
            if made_alike(replace(spec, config=setting).identity(), stored["identity"]):
                return setting
    return None


def _settled(config: ArmConfig, like: ArmConfig) -> ArmConfig:
    training = replace(
        config.training,
        micro_batch=like.training.micro_batch,
        checkpointing=like.training.checkpointing,
    )
    return replace(config, training=training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known of one arm before it runs.

    Attributes:
        arm: its name.
        first: its first run.
        inputs: what it reads; None if model or data are not here.
        shape: of its model; None if not known.
        forecast: of its first run, and while a space is searched for it of the trial that takes
            most memory; None without a shape.
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
    """Return the design with what earlier runs or the device decide: `auto`, trials and their best.

    `device` is asked only if something is left to choose.
    """
    seed = design.runs[0].seed
    refuse_wrong_methods(design)

    known: dict[str, Inputs | None] = {}

    def inputs_of(arm: Arm) -> Inputs | None:
        if arm.name not in known:
            try:
                known[arm.name] = prepare(arm.config, seed)
            except UserError:  # lengths are assumed; whoever runs it is told when it is surveyed
                known[arm.name] = None
        return known[arm.name]

    design = fit(with_begun(design, folder), folder, device, inputs_of)
    return with_chosen(design, known_values(design, folder))


def refuse_wrong_methods(design: Design) -> None:
    """Raise ConfigError for a method of peft's whose keys are not those of its class."""
    for arm in design.arms:
        if not is_peft(arm.config.method):
            continue
        quiet_libraries()
        from paribus.models.peft_methods import config_of  # peft takes seconds to import

        try:
            config_of(arm.config.method)
        except ConfigError as error:
            place = find_origin("method", arm.origins)
            raise ConfigError(f"{place}: arm {arm.name}: {error.message}", error.remedy) from error


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
        search = design.searches.get(arm.name) if arm.name in design.open else None
        try:
            inputs = prepare(arm)
            if search:
                require_optuna()
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
        stream = first.stream
        predicted = forecast(arm.config, inputs, stream, shape, device) if shape else None
        if predicted and shape and search:
            predict = partial(forecast, inputs=inputs, stream=stream, shape=shape, device=device)
            predicted = _largest(predicted, search, predict)
        prospects.append(
            Prospect(
                arm=arm.name,
                first=first,
                inputs=inputs,
                shape=shape,
                forecast=predicted,
                unknown=unknown,
                fault=fault,
            )
        )
    _check_gold_between(prospects)
    return prospects


def _largest(first: Forecast, search: Search, predict: Callable[[ArmConfig], Forecast]) -> Forecast:
    """Return the forecast with the largest peak, then of the longest time, found key by key."""

    def size(option: Forecast) -> tuple[int, float]:
        return option.memory.peak_bytes, option.speed.train_seconds

    largest = first
    for key, value in search.ends():
        with suppress(ConfigError):  # the two values do not go together
            option = predict(with_values(largest.config, {key: value}))
            largest = max(largest, option, key=size)
    return largest


def _check_gold_between(prospects: Sequence[Prospect]) -> None:
    """Raise DataError if arms of different data read different gold answers to one question.

    Tests of other scores are the same in all arms: what trains them may differ in its answers.
    """
    known = [(p.first.config, p.inputs.problems) for p in prospects if p.inputs]
    read = {
        (config.task.source, config.data): problems.read
        for config, problems in known
        if config.task.scores_numbers
    }
    if len(read) > 1:
        refuse_two_golds(itertools.chain(*read.values()), normalized_question)
