"""What the store already holds of a design: complete runs, unfinished runs, and conflicts.

    design = as_stored(design, folder)        # runs tested on more than is asked are kept
    is_complete(spec, folder)                 # True, or StoreError: another run is in its place
    inputs = check_inputs(design, folder)     # today's, and those of complete runs
    obstacles(design, folder, inputs)         # by folder: why `run` would stop, for `plan`

An unfinished run resumes at its newest verified checkpoint, if it is still the same run:

    refuse_another(spec, inputs, folder, fork=False)               # before anything is computed
    point = take_up(folder, record, steps=400, fork=False, on_note=print)

The same run has the same settings, inputs (down to the tokens), versions and machine. Another is
refused with the differences, for its result would belong to neither run. With `--fork` it resumes
as a new run that names where it began, unless the checkpoint's weights or optimizer do not fit it.
"""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from paribus.config.schema import ArmConfig, TestedTask
from paribus.config.spec import (
    RunSpec,
    covers,
    differences,
    further_within,
    has_more_tasks,
    identity_of,
    made_alike,
    name_in,
    overrides,
    same_but_size,
    testing,
)
from paribus.design.matrix import Design
from paribus.design.trials import tried_alike, tuned_values, with_values
from paribus.errors import StoreError, UserError
from paribus.files import UNREADABLE, read_json, remove
from paribus.planning.inputs import Inputs
from paribus.planning.prepare import prepare
from paribus.planning.search import require_optuna
from paribus.store.checkpoints import Checkpoint, glance, newest, relabel
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.locks import held
from paribus.store.manifest import check
from paribus.store.runs import RunState, state, writing
from paribus.training.batching import order_seed, training_length

_STATE = (
    "method", "quantization", "training.optimizer", "lora.r", "lora.targets", "lora.use_dora",
    "lora.modules_to_save", "lora.layers_to_transform", "lora.init_lora_weights",
    "lora.loraplus_lr_ratio", "training.train_only", "inputs.model",
)  # fmt: skip
"""What a checkpoint's weights and optimizer belong to: no fork can change it."""


def refuse_another(spec: RunSpec, inputs: Inputs, folder: RunFolder, *, fork: bool) -> None:
    """Raise UserError if what is unfinished in `folder` was begun with other settings or inputs.

    With `fork` only if that cannot be resumed as `spec`. Only manifests are read; versions and
    machine are compared when the run continues.
    """
    point = glance(folder.checkpoints)
    stored = point.run if point else _begun(folder)
    if stored is None:
        return
    now = {"identity": spec.identity(), "inputs": inputs.identity(),
           "environment": stored["environment"]}  # fmt: skip
    lines = differences(_described(stored), _described(now))
    if lines and not fork:
        raise _refusal(folder, point, lines)
    if lines and point:
        before = glance(folder.checkpoints, trains=True)
        _forkable(point, before, lines, length_of(spec, inputs), folder)


def take_up(
    folder: RunFolder,
    run: Mapping[str, Any],
    *,
    steps: int,
    fork: bool,
    on_note: Callable[[str], None],
) -> Checkpoint | None:
    """Return the checkpoint from which the run that is `run` continues, or None: it starts over.

    `steps` is how long it trains; `on_note` is called for every checkpoint that was put aside.
    Raises UserError if what lies there is another run's, and `fork` is not given or cannot work.
    """
    point = newest(folder.checkpoints, on_note)
    stored = point.run if point else _begun(folder)
    if stored is None or _described(stored) == _described(run):
        return point
    lines = differences(_described(stored), _described(run))
    if not fork:
        raise _refusal(folder, point, lines)
    origin = None
    if point:
        before = point if point.trains else newest(folder.checkpoints, on_note, trains=True)
        origin = _forkable(point, before, lines, steps, folder)
    with writing(folder.pieces):
        remove(folder.pieces)
    if origin is None:
        return None
    came = {"fingerprint": origin.run["fingerprint"], "step": origin.step, "differences": lines,
            "before": origin.forked_from}  # fmt: skip
    return relabel(origin, run, came)


def length_of(spec: RunSpec, inputs: Inputs) -> int:
    """Return how many optimizer steps a run trains; 0 without training."""
    lengths = [example.target_length for example in inputs.examples]
    seed = order_seed(spec.stream)
    return training_length(lengths, spec.config.training, seed)[0] if lengths else 0


def _forkable(
    point: Checkpoint,
    before: Checkpoint | None,
    lines: Sequence[str],
    steps: int,
    folder: RunFolder,
) -> Checkpoint:
    """Return the checkpoint to fork from: `point`, or `before` it if only that trains on.

    Raises UserError if a run of so many `steps` that differs by `lines` cannot resume from either.
    """
    stuck = [line for line in lines if line.partition(":")[0] in _STATE]
    if stuck:
        raise UserError(
            "\n  ".join([f"{point.path} cannot resume as a run with:", *stuck]),
            f"start over: {_clean(folder)}; its weights and optimizer are of the other settings",
        )
    if point.step > steps:
        raise UserError(
            f"{point.path} is after step {point.step}, and the training would end after {steps}",
            f"fork it into a training that is as long or longer; to start over: {_clean(folder)}",
        )
    checkpoint = point if point.step == steps or point.trains else before
    if checkpoint is None:
        raise UserError(
            f"{point.path} was the end of a training of {point.step} steps: it holds no state of "
            f"the optimizer to continue with, to {steps} steps",
            f"go back to {point.step} steps; to start over: {_clean(folder)}",
        )
    return checkpoint


def _clean(folder: RunFolder) -> str:
    return f"paribus clean {shlex.quote(str(folder.path))}"


def _refusal(folder: RunFolder, point: Checkpoint | None, lines: Sequence[str]) -> UserError:
    done = "a part of its tests"
    if point:
        done = f"{point.step} step{'' if point.step == 1 else 's'}"
    return UserError(
        "\n  ".join([f"{folder.path} is unfinished, with {done} done, as another run:", *lines]),
        "go back to those settings; or add --fork to the same command, which resumes from there as "
        f"a new run; or start over: {_clean(folder)}",
    )


def _described(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is, by the keys that users know."""
    return {**run["identity"], "inputs": run["inputs"], "environment": run["environment"]}


def _begun(folder: RunFolder) -> dict[str, Any] | None:
    """Return what the run was when it last tested something; None if nothing would be lost."""
    if not any(folder.pieces.glob("*.json")):
        return None
    try:
        stored: dict[str, Any] = read_json(folder.spec)
        _described(stored)
    except UNREADABLE:
        return None  # damaged; the pieces say themselves whose they are
    return stored


_ELSEWHERE = "run under another name (name=…) or folder (--runs DIR), or delete that run's folder"


def pending(specs: Sequence[RunSpec], folder: ExperimentFolder) -> list[RunSpec]:
    """Return those of `specs` that are still to be run.

    Raises StoreError, which names them all, if places are taken by other runs, or by damaged ones.
    """
    run_specs, wrong = [], list[StoreError]()
    for spec in specs:
        try:
            if not is_complete(spec, folder):
                run_specs.append(spec)
        except StoreError as error:
            if held(folder.of(spec).lock):  # another command is just putting files in place
                run_specs.append(spec)
            else:
                wrong.append(error)
    if wrong:
        lines = "\n  ".join(error.message for error in wrong)
        raise StoreError(lines, "\n  → ".join(dict.fromkeys(error.remedy for error in wrong)))
    return run_specs


def is_complete(spec: RunSpec, folder: ExperimentFolder) -> bool:
    """Return whether `spec` has been run to the end, and tested as it says.

    Raises StoreError if its place is taken by a run with another fingerprint that cannot be tested
    further, or if files of the finished run are gone.
    """
    run = folder.of(spec)
    if state(run) is not RunState.COMPLETE:
        return False
    check(run)
    stored = read_json(run.spec)
    if stored["fingerprint"] == spec.fingerprint:
        return True
    if spec.trial and tried_alike(spec, stored["identity"]):
        return True
    if has_more_tasks(stored["identity"], spec.identity()):
        return True
    if not goes_further(spec, stored["identity"]):
        raise _differs(run, stored["identity"], spec.identity())
    if spec.config.method != "none" and not run.weights.is_dir():
        raise StoreError(
            "\n  ".join([f"{run.path} cannot be tested further: its weights were not kept "
                         "(training.save_weights), or are gone:",
                         *differences(stored["identity"], spec.identity())]),
            _ELSEWHERE,
        )  # fmt: skip
    return False


def goes_further(spec: RunSpec, stored: Mapping[str, Any]) -> bool:
    """Return whether `spec` is the run of the `stored` identity, tested further: none is less."""
    now = spec.identity()
    if spec.trial or stored == now or not made_alike(stored, now):
        return False
    sizes = [settings["data"]["test_size"] for settings in (stored, now)]
    old, new = (math.inf if size == "all" else size for size in sizes)
    longest = [settings["evaluation"]["max_new_tokens"] for settings in (stored, now)]
    # Of those asked for by now: tasks that nobody asks for any more are left as they are.
    names = {name_in(task) for task in now["evaluation"].get("tasks", [])}
    before = testing(stored)
    kept = [task for task in before["evaluation.tasks"] if name_in(task) in names]
    same = further_within({**before, "evaluation.tasks": kept}, testing(now))
    return bool(old <= new and longest[0] <= longest[1] and same)


def as_tested(config: ArmConfig, stored: Mapping[str, Any]) -> ArmConfig:
    """Return `config` as it was tested by the run with the `stored` identity."""
    asked = stored["evaluation"]
    evaluation = replace(
        config.evaluation,
        protocol=asked["protocol"],
        also=tuple(asked["also"]),
        tasks=tuple(_tasks_as_tested(config, asked.get("tasks", []))),
        max_new_tokens=asked["max_new_tokens"],
    )
    data = replace(config.data, test_size=stored["data"]["test_size"])
    return replace(config, evaluation=evaluation, data=data)


def _tasks_as_tested(config: ArmConfig, stored: Sequence[Mapping[str, Any]]) -> list[TestedTask]:
    """Return those further tasks that were tested, each with as many problems as it was."""
    tested = []
    for entry in config.evaluation.tasks:
        for task in stored:
            if same_but_size(task, identity_of(entry)):
                tested.append(replace(entry, test_size=task["test_size"]))
    return tested


def as_stored(design: Design, folder: ExperimentFolder) -> Design:
    """Return the design as its runs were tested, where they all were on what it asks, or on more.

    Else, where any is not complete or differs in other ways, it is returned as it is.
    """
    stored = [_identity(folder.of(spec)) for spec in design.runs]
    pairs = list(zip(design.runs, stored, strict=True))
    if design.open or not all(old and _holds(old, spec.identity()) for spec, old in pairs):
        return design
    runs = [replace(spec, config=as_tested(spec.config, old)) for spec, old in pairs if old]
    configs = {spec.arm: spec.config for spec in runs}
    arms = [replace(arm, config=configs[arm.name]) for arm in design.arms]
    return replace(design, arms=arms, runs=runs)


def _identity(run: RunFolder) -> dict[str, Any] | None:
    """Return what the complete run in `run` is, by its spec; None without one that can be read."""
    with suppress(*UNREADABLE):
        if state(run) is RunState.COMPLETE:
            return dict(read_json(run.spec)["identity"])
    return None


def _holds(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return made_alike(stored, asked) and covers(testing(stored), testing(asked))


def check_open(design: Design, folder: ExperimentFolder) -> None:
    """Raise StoreError if a stored complete run has a rate, or values, that no trial tries."""
    for spec in design.runs:
        if spec.arm in design.open:
            _check_rate(spec, design, folder.of(spec))


def _check_rate(spec: RunSpec, design: Design, run: RunFolder) -> None:
    if state(run) is not RunState.COMPLETE:
        return
    configs = [trial.config for trial in design.trials if trial.arm == spec.arm]
    tried = [tuned_values(config, design.keys(spec.arm)) for config in configs]
    possible = [replace(spec, config=with_values(spec.config, values)) for values in tried]
    check(run)
    stored = read_json(run.spec)
    if stored["fingerprint"] not in {run_spec.fingerprint for run_spec in possible}:
        raise _taken(run, differences(stored["identity"], design.identity(spec)))


def check_inputs(design: Design, folder: ExperimentFolder) -> dict[str, Inputs]:
    """Return every arm's inputs, by arm. Raises UserError on the first that cannot be made.

    A complete run whose weights or problems were other than today's is a StoreError: its arm
    could not be compared with the others.
    """
    seed = design.runs[0].seed
    inputs = {arm.name: prepare(arm.config, seed) for arm in design.arms}
    for spec in design.runs:
        _check_run(spec, folder.of(spec), inputs[spec.arm])
    # All trials of an arm read the same: what is tuned changes no token.
    templates = [search.template for search in design.searches.values()]
    firsts = {
        trial.arm: trial
        for trial in (*reversed(design.trials), *templates)
        if trial.arm in design.open
    }
    if any(template.arm in design.open for template in templates):
        require_optuna()
    for arm, first in firsts.items():
        tried = prepare(first.config, seed, trial=True)
        for trial in design.trials:
            if trial.arm == arm:
                _check_stored(folder.of(trial), tried)
    return inputs


def obstacles(
    design: Design, folder: ExperimentFolder, inputs: Mapping[str, Inputs | None]
) -> dict[Path, UserError]:
    """Return, by its folder, why `run` would stop at what is stored: another design, or damage.

    `inputs` are each arm's; where they are None, only settings are compared.
    """
    errors: dict[Path, UserError] = {}
    for spec in (*design.trials, *design.runs):
        run, known = folder.of(spec), None if spec.trial else inputs[spec.arm]
        try:
            if spec.arm in design.open and not spec.trial:
                _check_rate(spec, design, run)
            elif not is_complete(spec, folder) and known:
                refuse_another(spec, known, run, fork=False)
            if known:
                _check_run(spec, run, known)
        except UserError as error:
            errors[run.path] = error
    return errors


def _check_run(spec: RunSpec, run: RunFolder, inputs: Inputs) -> None:
    """Raise StoreError if the complete run of `spec` was made of other inputs than today's."""
    stored = read_json(run.spec)["identity"] if state(run) is RunState.COMPLETE else None
    if stored is None or not goes_further(spec, stored):
        _check_stored(run, inputs)
        return
    before = prepare(as_tested(spec.config, stored), spec.seed)
    _check_stored(run, before)
    if before.examples != inputs.examples:
        raise _taken(run, ["with more test problems it would be trained on others"])


def _check_stored(run: RunFolder, inputs: Inputs) -> None:
    if state(run) is RunState.COMPLETE:
        stored, now = read_json(run.spec)["inputs"], inputs.identity()
        # Further tasks that nobody asks for any more are no matter.
        stored = {key: value for key, value in stored.items() if key in now or " " not in key}
        if stored != now:
            raise _taken(run, differences(stored, now))


def _differs(run: RunFolder, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> StoreError:
    """Return the error for a complete run of another identity in the place of the one asked for."""
    error = _taken(run, differences(stored, asked))
    if made_alike(stored, asked):
        had, now = testing(stored), testing(asked)
        words = overrides({key: value for key, value in had.items() if now.get(key) != value})
        typed = f"{words}; " if words else ""
        if had["evaluation.tasks"] != now["evaluation.tasks"]:
            typed += "give a further task that differs another name (`task:` in its file); "
        error.remedy = f"ask for what it was tested on, or for more: {typed}or {_ELSEWHERE}"
    return error


def _taken(run: RunFolder, lines: list[str]) -> StoreError:
    return StoreError(
        "\n  ".join([f"{run.path} holds a complete run that differs from this one:", *lines]),
        _ELSEWHERE,
    )
