"""Settles every `auto` of `training` before anything runs: precision, micro-batch, recomputation.

    choose(config, inputs, stream, shape, device)      # the config with the fastest that fits

The effective batch stays as it is: only divisors of `batch_size` are tried. What was chosen is part
of the run's identity, so a choice that a stored run was made with is kept, on any machine. The
precision is one for all arms that leave it open.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from paribus.config.read import Origin
from paribus.config.schema import ArmConfig, Precision
from paribus.config.spec import RunSpec, made_alike
from paribus.experiment.arms import Arm
from paribus.experiment.forecast import Forecast, forecast
from paribus.experiment.matrix import Design
from paribus.files import read_json
from paribus.models.shapes import Shape, shape_of
from paribus.planning.devices import Device, timed
from paribus.planning.inputs import Inputs
from paribus.store.layout import ExperimentFolder

_SIZES = ("micro_batch", "checkpointing")
_AUTO = ("precision", *_SIZES)


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
    chosen: dict[str, ArmConfig] = {}
    for arm in (each for each in design.arms if is_open(each.config)):
        specs = [spec for spec in (*design.trials, *design.runs) if spec.arm == arm.name]
        stored = _stored(specs, folder)
        if stored is None:
            shape = shape_of(arm.config.model, arm.config.revision)
            stream = next(spec.stream for spec in specs if not spec.trial)
            target = timed(device(), {arm.config.training.computes_in})
            stored = choose(arm.config, inputs_of(arm), stream, shape, target)
        chosen[arm.name] = stored
    return _with(design, chosen) if chosen else design


def native_precision(device: Device) -> Precision:
    """Return what `training.precision: auto` means on `device`."""
    return "bf16" if device.bf16 else "fp32"


def _with_precision(
    design: Design, folder: ExperimentFolder, device: Callable[[], Device]
) -> Design:
    """Return the design with one precision for all arms that leave it open."""
    arms = {arm.name: arm.config for arm in design.arms if arm.config.training.precision == "auto"}
    if not arms:
        return design
    specs = [spec for spec in (*design.runs, *design.trials) if spec.arm in arms]
    precision = _stored_precision(specs, folder) or native_precision(device())
    return _with(
        design,
        {
            name: replace(config, training=replace(config.training, precision=precision))
            for name, config in arms.items()
        },
    )


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
    tried = [forecast(each, inputs, stream, shape, device) for each in _settings(config)]
    fitting = [each for each in tried if each.fits_easily]
    if not fitting:
        return min(tried, key=lambda each: each.memory.peak_bytes).config
    return max(fitting, key=_merit).config


def _merit(found: Forecast) -> tuple[float, int]:
    """Faster is better; of two as fast, the one with fewer passes."""
    return found.speed.train_examples_per_second, found.config.training.pass_size


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
    """Return the arm's config as a run in the store has settled it, if only that differs."""
    arm = next(spec.config for spec in specs if not spec.trial)
    for spec in specs:
        path = folder.of(spec).spec
        if not path.exists():
            continue
        stored = read_json(path)
        for each in _settings(spec.config):
            if made_alike(replace(spec, config=each).identity(), stored["identity"]):
                return _settled(arm, each)
    return None


def _settled(config: ArmConfig, like: ArmConfig) -> ArmConfig:
    training = replace(
        config.training,
        precision=like.training.precision,
        micro_batch=like.training.micro_batch,
        checkpointing=like.training.checkpointing,
    )
    return replace(config, training=training)


def _with(design: Design, chosen: Mapping[str, ArmConfig]) -> Design:
    """Return the design with the chosen settings in its arms, runs and trials."""

    def settle(spec: RunSpec) -> RunSpec:
        return (
            replace(spec, config=_settled(spec.config, chosen[spec.arm]))
            if spec.arm in chosen
            else spec
        )

    arms = [
        replace(
            arm,
            config=chosen[arm.name],
            origins={**arm.origins, **{f"training.{key}": Origin("auto") for key in _AUTO
                                       if getattr(arm.config.training, key)
                                       != getattr(chosen[arm.name].training, key)}},
        )
        if arm.name in chosen
        else arm
        for arm in design.arms
    ]  # fmt: skip
    return replace(
        design,
        arms=arms,
        runs=[settle(run) for run in design.runs],
        trials=[settle(trial) for trial in design.trials],
    )
