"""How arms are tested where their file leaves it open: how many problems at once, by which engine.

    design = settle_tests(design, folder, device_here, inputs_of)
    design.arms[0].config.evaluation.batch_size            # 256, no longer "auto"

Both are part of a run's identity, as rounding follows from them. So all arms that leave one open
share a value, and a value that a stored run was made with is kept on any machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import takewhile
from typing import Literal

from paribus.config.nested import flatten
from paribus.config.read import Origin
from paribus.config.schema import ArmConfig, EvaluationConfig, values_of
from paribus.config.spec import RunSpec
from paribus.design.arms import Arm
from paribus.design.matrix import Design
from paribus.design.trials import with_values
from paribus.errors import ConfigError, ModelError
from paribus.files import read_json
from paribus.models.shapes import Shape, shape_of
from paribus.planning.devices import Device, timed
from paribus.planning.forecast import Forecast, forecast
from paribus.planning.inputs import Inputs
from paribus.planning.rules.environment import room
from paribus.store.layout import ExperimentFolder

Change = Callable[[ArmConfig], ArmConfig]
Engine = Literal["paribus", "vllm"]

MOST_AT_ONCE = 512
"""Problems that `auto` decodes at once at most: at the end of more of them rows run empty."""

HARDLY = 1.1
"""How many times the shortest time may be taken, by fewer problems at once."""

LONG_TESTS = 600.0
"""Seconds of a run's tests from which `auto` takes vLLM: several times what vLLM takes to start,
which it does in each run. Chosen, not measured."""


def with_changes(design: Design, changes: Mapping[str, Change]) -> Design:
    """Return the design with the configs of named arms changed, in runs and trials too.

    Values that were `auto` are then said to come from it.
    """

    def settle(spec: RunSpec) -> RunSpec:
        change = changes.get(spec.arm)
        return replace(spec, config=change(spec.config)) if change else spec

    def changed(arm: Arm) -> Arm:
        if arm.name not in changes:
            return arm
        config = changes[arm.name](arm.config)
        before, after = flatten(values_of(arm.config)), flatten(values_of(config))
        chosen = {key: Origin("auto") for key, value in after.items() if value != before[key]}
        return replace(arm, config=config, origins={**arm.origins, **chosen})

    return replace(
        design,
        arms=[changed(arm) for arm in design.arms],
        runs=[settle(run) for run in design.runs],
        trials=[settle(trial) for trial in design.trials],
        searches={
            name: replace(search, template=settle(search.template))
            for name, search in design.searches.items()
        },
    )


def settle_tests(
    design: Design,
    folder: ExperimentFolder,
    device: Callable[[], Device],
    inputs_of: Callable[[Arm], Inputs | None],
) -> Design:
    """Return the design with every `batch_size` and `engine` settled, as stored or for `device`.

    Precisions are settled. `device` and `inputs_of` are asked only if something is open. Raises
    ModelError if the shape of a model is not known, and its batch size is open.
    """
    open_arms = [arm for arm in design.arms if is_open(arm.config.evaluation)]
    if not open_arms:
        return design
    names = {arm.name for arm in open_arms}
    stored = _stored([spec for spec in (*design.runs, *design.trials) if spec.arm in names], folder)
    tests = stored or _for_all(open_arms, device(), inputs_of)
    return with_changes(design, dict.fromkeys(names, partial(_settled, tests=tests)))


def settle_alone(config: ArmConfig, inputs: Inputs, device: Callable[[], Device]) -> ArmConfig:
    """Return `config`, which no other is compared with, as `settle_tests` settles a design's."""
    if not is_open(config.evaluation):
        return config
    arm = Arm(name="", config=config, factors={}, set_by={}, origins={})
    return _settled(config, _for_all([arm], device(), lambda _: inputs))


def is_open(evaluation: EvaluationConfig) -> bool:
    """Return whether `evaluation` leaves open how it tests."""
    return "auto" in (evaluation.batch_size, evaluation.engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tests:
    """Values for `auto`: problems at once, and the engine."""

    batch_size: int
    engine: Engine


def _settled(config: ArmConfig, tests: _Tests) -> ArmConfig:
    own = config.evaluation
    if own.batch_size == "auto":
        own = replace(own, batch_size=tests.batch_size)
    if own.engine == "auto":
        own = replace(own, engine=tests.engine)
    return replace(config, evaluation=own)


def _stored(specs: Sequence[RunSpec], folder: ExperimentFolder) -> _Tests | None:
    """Return how the first of `specs` that was begun before is tested, if any was."""
    for spec in specs:
        path = folder.of(spec).spec
        if path.exists():
            evaluation = read_json(path)["identity"]["evaluation"]
            engine = evaluation.get("engine", "paribus")  # which an identity leaves out
            return _Tests(batch_size=evaluation["batch_size"], engine=engine)
    return None


def _for_all(
    arms: Sequence[Arm], device: Device, inputs_of: Callable[[Arm], Inputs | None]
) -> _Tests:
    """Return what suits all arms: the fewest problems at once, and vLLM where it can test each."""
    found = [_for_one(arm.config, device, inputs_of(arm)) for arm in arms]
    sizes = [size for size, _ in found]
    long = max(seconds for _, seconds in found) >= LONG_TESTS
    # On a CPU vLLM has not been seen to win; of several ranks it is refused (PB092).
    alone = device.kind == "cuda" and device.ranks == 1
    by_vllm = long and alone and find_spec("vllm") is not None
    can = by_vllm and all(_loads(arm.config) for arm in arms)
    return _Tests(batch_size=min(sizes), engine="vllm" if can else "paribus")


def _for_one(config: ArmConfig, device: Device, inputs: Inputs | None) -> tuple[int, float]:
    """Return how many problems to decode at once, and the seconds that tests then take."""
    size = config.evaluation.batch_size
    try:
        shape = shape_of(config.model, config.revision)
    except ModelError:
        if size == "auto":
            raise
        return size, 0.0  # not known
    target = timed(device, {config.training.computes_in})
    predict = partial(_predicted, config, inputs, shape, target)
    chosen = predict(size) if size != "auto" else _fastest(predict, target)
    return chosen.config.evaluation.at_once, chosen.speed.eval_seconds


def _predicted(
    config: ArmConfig, inputs: Inputs | None, shape: Shape, device: Device, size: int
) -> Forecast:
    """Return what tests of `size` problems at once take; of training only what lies beside them."""
    evaluation = replace(config.evaluation, batch_size=size, engine="paribus")
    # The smallest passes: larger ones are chosen to fit beside what is chosen here.
    training = replace(config.training, micro_batch=1, checkpointing=True)
    beside = config.is_validated and config.evaluation.at_generates
    tested = replace(
        config,
        method=config.method if beside else "none",
        training=training,
        evaluation=evaluation,
    )
    return forecast(tested, inputs, 0, shape, device)


def _fastest(predict: Callable[[int], Forecast], device: Device) -> Forecast:
    """Return the forecast with the fewest problems at once that hardly takes longer than any.

    Only those count that leave a tenth of the memory free, or that of a single problem.
    """
    first = predict(1)
    more = map(predict, _sizes(first.lengths.problems))
    fitting = [first, *takewhile(lambda option: option.memory.peak_bytes <= room(device), more)]
    shortest = min(option.speed.eval_seconds for option in fitting)
    return next(option for option in fitting if option.speed.eval_seconds <= HARDLY * shortest)


def _sizes(problems: int) -> Iterator[int]:
    """Yield 2, 4, 8, … up to the first that holds all problems."""
    size = 1
    while size < min(problems, MOST_AT_ONCE):
        size *= 2
        yield size


def _loads(config: ArmConfig) -> bool:
    """Return whether vLLM can load what an arm trains, and what it is trained beside."""
    # Of a baseline nothing else is asked, and all of it would be refused.
    trained = replace(config, method="lora") if config.method == "none" else config
    try:
        with_values(trained, {"evaluation.engine": "vllm"})
    except ConfigError:
        return False
    return True
