"""When a training is saved and how it resumes: fills the store's checkpoints with its state.

    saves = Checkpoints(folder=folder, run=record, minutes=5.0, point=None)
    train(…, checkpoints=saves)          # or with point=newest(…): resumes there

Files are written between two steps, directly from the tensors that train. Syncing and hashing,
which take as long again, run in a thread beside the next steps.

    weights.safetensors     every weight that trains, fp32 (LoRA: the adapters)
    optimizer.safetensors   tensors of the optimizer's state, by number of the weight
    random.safetensors      torch's generators, of the CPU and of the GPU that trains
    state.json              the rest of optimizer and schedule

Where weights are sharded every rank writes its parts of weights and states, by the same names:

    shard-00001-model-….safetensors     those of the first rank, and where in the whole they lie

torch.distributed.checkpoint writes and reads these, and reads the parts that another number of
ranks needs out of either form. No other format is ever read: no pickle. Training draws from torch's
generators alone (dropout). The data order has no state: it is a function of the seed and the step.
JSON keeps floats exactly.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paribus.errors import RunFailed, StoreError
from paribus.files import read_json, write_json
from paribus.models import ranks
from paribus.models.device import CPU, is_out_of_memory
from paribus.stopping import asked
from paribus.store.checkpoints import Checkpoint, find_best, keep_best, make_room, publish
from paribus.store.layout import RunFolder
from paribus.store.runs import full_disk, read_events_of, writing
from paribus.training.parts import is_part, is_sharded, part_of, read_parts, shapes_in, write_parts

WEIGHTS, STATES = "weights.safetensors", "optimizer.safetensors"
_TENSOR = "tensor of the file"


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that train, by name; tied ones once."""
    return {
        name: parameter.data
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def not_finite(model: nn.Module) -> str | None:
    """Return the name of a weight that trains and holds a NaN or an infinity, or None.

    Of sharded weights this rank's part is looked at.
    """
    for name, whole in trained(model).items():
        weight = part_of(whole)
        if weight.numel() and not all(bool(end.isfinite()) for end in torch.aminmax(weight)):
            return name
    return None


def state_bytes(model: nn.Module, optimizer: Any) -> int:
    """Return about how many bytes `save` will write; without an optimizer the weights alone."""
    tensors = dict(trained(model))
    if optimizer is not None:
        _take_out(optimizer.state_dict()["state"], "", tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def save(
    folder: Path,
    model: nn.Module,
    optimizer: Any,
    schedule: Any,
    streams: dict[str, Tensor] | None = None,
) -> None:
    """Write all of it into `folder`, of a sharded model collectively.

    Raises OSError, SafetensorError.

    Without `optimizer` and `schedule` the training is over: only the weights are written. `streams`
    are the states of random generators; None: those of this process.
    """
    weights, states = trained(model), dict[str, Tensor]()
    plain = None if optimizer is None else _take_out(optimizer.state_dict(), "", states)
    if is_sharded(model):
        write_parts(folder, {**weights, **states})
        if ranks.rank():
            return
    else:
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / WEIGHTS)
    if optimizer is None:
        return
    if not is_sharded(model):
        save_file(_unshared(states), folder / STATES)
    if streams is None:
        streams = _generators(next(model.parameters()).device)
    save_file(streams, folder / "random.safetensors")
    rest = {"optimizer": plain, "schedule": schedule.state_dict()}
    write_json(folder / "state.json", rest)


def restore_weights(folder: Path, model: nn.Module) -> None:
    """Put the weights that train back, in place. Raises KeyError or RuntimeError if they differ."""
    mine = trained(model)
    if (folder / WEIGHTS).exists() and not is_sharded(model):
        stored = load_file(folder / WEIGHTS)
        _refuse_others(stored.keys(), mine.keys())
        for name, weight in mine.items():
            weight.copy_(stored[name])
        return
    shapes = shapes_in(folder)
    _refuse_others({name for name in shapes if name[0] != "/"}, mine.keys())
    read_parts(folder, mine)


def _refuse_others(stored: Set[str], mine: Set[str]) -> None:
    if stored != mine:
        raise KeyError(f"weights are not those that train here: {sorted(stored ^ mine)[:3]}")


def restore_optimizer(folder: Path, optimizer: Any, schedule: Any) -> None:
    """Put back the state of the optimizer, and how far the schedule is.

    Settings are those the two were made with: after a fork not those of the checkpoint, which
    torch would put back silently. In the same run they are equal.
    """
    state = read_json(folder / "state.json")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if (folder / STATES).exists() and not any(map(is_part, weights)):
        tensors = load_file(folder / STATES)
    else:
        tensors = _read_states(folder, weights)
    restored = _put_back(state["optimizer"], tensors)
    restored["state"] = {int(number): value for number, value in restored["state"].items()}
    restored["param_groups"] = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(restored)
    far = {key: state["schedule"][key] for key in ("last_epoch", "_step_count")}
    schedule.load_state_dict(schedule.state_dict() | far)
    rates = schedule.get_lr()
    schedule.load_state_dict(schedule.state_dict() | {"_last_lr": rates})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _read_states(folder: Path, weights: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the optimizer's tensors, in such parts as the rank has of the weights they are for."""
    states = {}
    for name, (shape, dtype) in shapes_in(folder).items():
        if name[0] == "/":
            weight = weights[int(name.split("/")[2])].detach()
            alike = weight.shape == shape
            states[name] = (
                torch.zeros_like(weight, dtype=dtype) if alike else torch.zeros(shape, dtype=dtype)
            )
    read_parts(folder, states)
    return states


def restore_random(folder: Path, device: torch.device) -> None:
    """Put back the generators that a training on `device` draws from.

    Those of other GPUs are left out: earlier versions saved one of every GPU that was visible, and
    fewer may be now. A GPU or a rank that has none resumes from its seed: a fork of a training on a
    CPU, or on fewer ranks.
    """
    stored = load_file(folder / "random.safetensors")
    if not ranks.rank() or _name(CPU) in stored:
        torch.set_rng_state(stored[_name(CPU)])
    if device.type == "cuda" and _name(device) in stored:
        torch.cuda.set_rng_state(stored[_name(device)], device)


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that a training on `device` draws from."""
    states = {_name(CPU): torch.get_rng_state()}
    if device.type == "cuda":
        states[_name(device)] = torch.cuda.get_rng_state(device)
    return states


def _name(device: torch.device) -> str:
    """Return what the generator of `device` is called: `cpu`, `cuda-0`, `cpu of rank 1`."""
    name = "cpu" if device.type == "cpu" else f"cuda-{device.index or 0}"
    return f"{name} of rank {ranks.rank()}" if ranks.rank() else name


def _take_out(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` for JSON; its tensors go to `tensors`, by their place in it."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {
            str(key): _take_out(inner, f"{name}/{key}", tensors) for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_take_out(inner, f"{name}/{i}", tensors) for i, inner in enumerate(value)]
    return value


def _put_back(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_take_out` was given, but for tuples, which are lists."""
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            # A copy: what was loaded lies in the file's own pages, which may be cut or removed.
            return tensors[value[_TENSOR]].clone()
        return {key: _put_back(inner, tensors) for key, inner in value.items()}
    return [_put_back(inner, tensors) for inner in value] if isinstance(value, list) else value


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, none in the memory of another: 8-bit AdamW's share their tables."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        shared = tensor.numel() > 0 and tensor.data_ptr() in seen
        separate[name] = tensor.clone() if shared else tensor.contiguous()
        seen.add(tensor.data_ptr())
    return separate


NAN_REMEDY = (
    "lower training.learning_rate, or set training.precision=fp32; with --fork it resumes from its "
    "newest checkpoint, after `paribus clean` it starts over"
)
"""What to do when a loss, a gradient or a weight is not one."""

_SPARE = 1.2
"""Room that must be free, as a multiple of what is to be written."""


@dataclass(kw_only=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: the run's.
        run: what the run is, as in `spec.json`.
        minutes: between two checkpoints; 0: after every step; None: only when asked to stop.
        point: the checkpoint to resume from, if there is one.

    Of several ranks all have one and call the same methods; rank 0 decides, and writes.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    minutes: float | None
    point: Checkpoint | None = None
    _last: float = field(default_factory=time.monotonic)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    _pending: "Future[Checkpoint] | None" = None

    @property
    def forked_from(self) -> dict[str, Any] | None:
        """Where the run came from if it began at a checkpoint of another run."""
        return self.point.forked_from if self.point else None

    def due(self) -> bool:
        """Return whether the step that just ended is to be saved. Collective."""
        late = self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes
        return ranks.from_first(asked() or late)

    def ends(self) -> bool:
        """Return whether training is to stop with the checkpoint that was just saved. Collective.

        It may have been asked for since `due` was called.
        """
        return ranks.from_first(asked())

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Any = None,
        schedule: Any = None,
        write_more: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """Save the training as it is after `step`; once it is over, without an optimizer.

        Collective. `write_more` may add files. Raises RunFailed if a weight is NaN or infinite;
        StoreError: no room, not writable, or the checkpoint before is damaged. Verified checkpoints
        stay.
        """
        self.wait()
        spoiled = next(filter(None, ranks.gathered(not_finite(model))), None)
        if spoiled:
            raise RunFailed(
                f"step {step} left a weight that is NaN or infinite: {spoiled}", NAN_REMEDY
            )
        device = next(model.parameters()).device
        streams = {k: v for own in ranks.gathered(_generators(device)) for k, v in own.items()}
        sharded = is_sharded(model)
        if ranks.rank():
            if sharded:
                save(ranks.from_first(self.folder.path), model, optimizer, schedule)
            return
        self._check_room(state_bytes(model, optimizer))
        with self._new(step) as temporary:
            if sharded:
                ranks.from_first(temporary)
            save(temporary, model, optimizer, schedule, streams)
            write_more(temporary)
            shutil.copyfile(self.folder.events, temporary / self.folder.events.name)
        self._pending = self._pool.submit(publish, temporary, step, self.run, self.forked_from)
        self._last = time.monotonic()

    def keep_best(self, step: int, model: nn.Module) -> None:
        """Keep the weights as they are after `step`, in place of those kept before.

        Does nothing if they are kept already. Raises StoreError.
        """
        if find_best(self.folder.checkpoints, step, self.run) is None:
            self._check_room(state_bytes(model, None))
            with self._new(step) as temporary:
                save(temporary, model, None, None)
            keep_best(temporary, step, self.run)

    def restore_best(self, step: int, model: nn.Module) -> Path:
        """Put the weights that were kept at `step` into `model`, and return where they lie.

        Raises StoreError.
        """
        best = find_best(self.folder.checkpoints, step, self.run)
        if best is None:
            raise StoreError(
                f"{self.folder.checkpoints} lacks the weights of step {step}, which are to be "
                "tested",
                f"start over: paribus clean {self.folder.path}",
            )
        restore_weights(best.path, model)
        return best.path

    @contextmanager
    def _new(self, step: int) -> Iterator[Path]:
        """Yield a new folder to write into; it is removed if that fails."""
        temporary = make_room(self.folder.checkpoints, step)
        try:
            with writing(temporary), full_disk(temporary):
                yield temporary
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def wait(self) -> None:
        """Wait until what was saved is verified. Raises StoreError if it cannot be."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def events(self) -> list[dict[str, Any]]:
        """Return the steps that were done before `point`, as they were logged."""
        return (
            [] if self.point is None else read_events_of(self.point.path / "events.jsonl", "step")
        )

    def restore_weights(self, model: nn.Module) -> None:
        """Put the weights of `point` into `model`. Raises RunFailed if they do not fit."""
        assert self.point is not None
        try:
            restore_weights(self.point.path, model)
        except (KeyError, RuntimeError, OSError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            raise RunFailed(
                f"{self.point.path} does not fit this model: {error}",
                "keep the model and which of its weights train: a fork may change other settings",
            ) from error

    def restore_optimizer(self, optimizer: Any, schedule: Any) -> None:
        """Put the state of `point` into optimizer and schedule. Raises RunFailed."""
        assert self.point is not None
        try:
            restore_optimizer(self.point.path, optimizer, schedule)
        except (KeyError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            raise RunFailed(
                f"{self.point.path} does not fit this optimizer: {error}",
                "keep the optimizer: a fork may change other settings",
            ) from error

    def restore_random(self, device: torch.device) -> None:
        """Put back the generators of random numbers that a training on `device` draws from."""
        assert self.point is not None
        restore_random(self.point.path, device)

    def _check_room(self, needed: int) -> None:
        with writing(self.folder.path):
            free = shutil.disk_usage(self.folder.path).free
        if free < _SPARE * needed:
            raise StoreError(
                f"{self.folder.checkpoints}: a checkpoint needs {needed / 1e9:.2f} GB, and "
                f"{_SPARE:g} times that must be free; {free / 1e9:.2f} GB are",
                "free some disk space, then give the same command: the run resumes from its "
                "newest checkpoint",
            )
