"""How long a run takes: an estimate from operations and bytes, without a promise.

    speed(shape, load, device("rtx-4090")).seconds      # training and evaluation, of one run

A matrix of P weights costs 2·P operations per token forward, 2·P for the gradient of its input and
2·P for its own, which frozen weights spare. Recomputation adds a forward pass. The output head
is computed at tokens with loss only. No device reaches the speed of its data sheet: `EFFICIENCY`
is the share that was measured or is assumed. Between products every value is read and written many
times (norms, activations, gradients, exponentials), which on a CPU with matrix units takes longer
than the products: `VALUE_SECONDS`. Turning 4-bit weights into 16-bit ones is not counted, and
neither are guesses of several tokens at once, which make decoding faster where texts repeat.
"""

from dataclasses import dataclass, replace
from math import ceil

from paribus.models.shapes import Shape
from paribus.planning.cost.activations import first_trained
from paribus.planning.cost.memory import Workload
from paribus.planning.cost.peaks import trained_matrices, trained_parameters
from paribus.planning.devices import Device

EFFICIENCY = {"cpu": 1.0, "cuda": 0.35}
"""Share of a device's matrix speed that products reach. The CPU's speed is timed, with products of
oneDNN as a run's are. The GPU's is assumed, passes over memory included: nothing was measured."""

VALUE_SECONDS = {"cpu": 3.5e-9, "cuda": 0.0}
"""Time of one value that enters or leaves a linear layer or the head, beside products, forward and
backward; a third of it where nothing is trained. Measured: full SFT and LoRA of Gemma 3 270M on 2
cores, with and without matrix units (the table of docs/speed.md)."""

LAYER_SECONDS = {"cpu": 4e-4, "cuda": 1e-3}
"""Least time of one layer's forward pass, however few the tokens and fast the device: Python and
the start of kernels. A backward pass is taken to need as much. Assumed."""

_STEP_BYTES = {
    "adamw": 28, "adamw_8bit": 18, "paged_adamw_32bit": 28, "paged_adamw_8bit": 18, "lion": 20,
    "lion_8bit": 14, "paged_lion_8bit": 14, "muon": 60, "adafactor": 88, "adagrad": 36,
    "rmsprop": 36, "sgd": 24,
}  # fmt: skip
"""Read and written per trained weight and step: weight, gradient, states, and what is computed in
between by optimizers that are not one kernel. That paged states may have to come from the
CPU's memory is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Estimated times of one run, loading and saving left out.

    Attributes:
        train_examples_per_second: 0 for a baseline.
        train_seconds: all optimizer steps.
        validation_seconds: measuring the model while it trains, likewise; decoding takes up to
            twice as long then on a CPU in bf16, where weights in training are not kept in blocks.
        eval_seconds: decoding under all protocols and the likelihood pass, if every solution is
            as long as the mean gold one.
    """

    train_examples_per_second: float
    train_seconds: float
    validation_seconds: float
    eval_seconds: float

    @property
    def seconds(self) -> float:
        """Training and evaluation."""
        return self.train_seconds + self.validation_seconds + self.eval_seconds


def speed(shape: Shape, load: Workload, device: Device) -> Speed:
    """Return the estimated time of a run of `load` on `device`."""
    batch = load.micro_batch * load.accumulation
    train = load.steps * _step_seconds(shape, load, device)
    return Speed(
        train_examples_per_second=load.ranks * load.steps * batch / train if train else 0.0,
        train_seconds=train,
        validation_seconds=load.validations * _validation_seconds(shape, load, device),
        eval_seconds=_decode_seconds(shape, load, device) + _gold_seconds(shape, load, device),
    )


def training_operations(shape: Shape, load: Workload) -> float:
    """Return the floating-point operations of all optimizer steps; recomputation does not count."""
    if not load.steps:
        return 0.0
    products = load.micro_batch * sum(_example_operations(shape, load))
    extra = _dora_operations(shape, load, load.train_tokens)
    passes = load.ranks * load.accumulation
    one_step = passes * (products + extra) + update_operations(shape, load)
    return load.steps * one_step


def update_operations(shape: Shape, load: Workload) -> float:
    """Return the operations of the products in one update of the weights, which Muon alone has.

    Five times of each matrix of n columns by m rows, fewer of these: its Gram matrix, the square
    of that, and their product with the matrix.
    """
    if load.optimizer != "muon":
        return 0.0
    sides = [sorted(size) for size in trained_matrices(shape, load)]
    return float(sum(5 * (4 * m * m * n + 2 * m**3) for m, n in sides))


def _example_operations(shape: Shape, load: Workload) -> tuple[float, float]:
    """Return the operations of an example: a forward pass without the head, and all else."""
    ends = shape.vocab * shape.hidden  # the embedding is no product, the head one of few tokens
    products = sum(size for size in trained_parameters(shape, load) if size != ends)
    products *= 1 + load.lora_starts
    adapters = products if load.method == "lora" else 0
    tokens, head = load.train_tokens, shape.vocab * shape.hidden * load.target_tokens
    attention = _attention(shape, tokens)
    forward = 2 * (shape.linear_parameters + adapters) * tokens + attention
    backward = 2 * forward
    if not load.trains_all:  # no gradient goes below the lowest layer that is trained
        reached = 1 - first_trained(shape, load)[0] / shape.layers
        backward = reached * (forward + attention) + 2 * products * tokens
    return forward, backward + head * (6 if load.trains_whole("lm_head") else 4)


def _step_seconds(shape: Shape, load: Workload, device: Device) -> float:
    """Return the time of one optimizer step."""
    trained, tokens = trained_parameters(shape, load), load.train_tokens
    forward, rest = _example_operations(shape, load)
    times = 2 if load.checkpointing else 1  # forward
    operations = forward * times + rest
    values = VALUE_SECONDS[device.kind] * _values(shape, tokens, load.target_tokens)
    products = load.micro_batch * operations + times * _dora_operations(shape, load, tokens)
    one_pass = max(
        products / _flops(device, load) + load.micro_batch * values * (times + 2) / 3,
        shape.layers * LAYER_SECONDS[device.kind] * (times + 1),
    )
    update = sum(trained) * _STEP_BYTES[load.optimizer] / device.bandwidth
    update += update_operations(shape, load) / _flops(device, load)
    return load.accumulation * one_pass + update


def _validation_seconds(shape: Shape, load: Workload, device: Device) -> float:
    """Return the time of one measurement on the validation problems."""
    asked = replace(load, eval_problems=load.validation_problems)
    decoding = _decode_seconds(shape, asked, device) if load.validation_generates else 0.0
    return decoding + _gold_seconds(shape, asked, device)


def _dora_operations(shape: Shape, load: Workload, tokens: float) -> float:
    """Return the operations that DoRA adds to a pass: peft multiplies B · A by the identity.

    With dropout it also multiplies by the base a second time, forward and backward.
    """
    if not load.dora:
        return 0.0
    layers = load.adapted_layers(shape)
    widths = [shape.linears[name] for name in set(load.lora_targets)]
    changes = sum(2 * load.lora_r * wide * (wide + out) for wide, out in widths)
    again = sum(4 * wide * out for wide, out in widths) if load.lora_dropout else 0
    return float(layers * (changes + again * load.micro_batch * tokens))


def _decode_seconds(shape: Shape, load: Workload, device: Device) -> float:
    """Return the time to read the prompts and write solutions of the gold ones' mean length."""
    if not load.eval_problems or not load.new_tokens:
        return 0.0
    head, stored = shape.vocab * shape.hidden, 2 if load.precision == "bf16" else 4
    written = min(load.new_tokens, load.gold_targets / load.eval_batch)
    own = load.prompt_length - load.shared_prefix
    reading = 2 * shape.linear_parameters * own + _attention(shape, load.prompt_length)
    cached = load.eval_batch * (load.prompt_length + written / 2)
    moved = shape.parameters * stored + cached * shape.kv_bytes_per_token(stored)
    token = max(
        moved / device.bandwidth,
        load.eval_batch * 2 * (shape.linear_parameters + head) / _flops(device, load),
        shape.layers * LAYER_SECONDS[device.kind],
    )
    batches = ceil(load.eval_problems / load.eval_batch)
    return load.eval_problems * reading / _flops(device, load) + batches * written * token


def _gold_seconds(shape: Shape, load: Workload, device: Device) -> float:
    """Return the time of the likelihood pass, as if every gold solution followed each protocol."""
    targets = load.gold_targets / max(1, load.eval_batch)
    flops = 2 * shape.linear_parameters * load.gold_length + _attention(shape, load.gold_length)
    flops += 2 * shape.vocab * shape.hidden * targets
    values = VALUE_SECONDS[device.kind] * _values(shape, load.gold_length, targets) / 3
    return load.eval_problems * (flops / _flops(device, load) + values)


def _values(shape: Shape, tokens: float, targets: float) -> float:
    """Return how many values enter and leave the linear layers at `tokens`, the head at targets."""
    widths = sum(sum(widths) for widths in shape.linears.values())
    return shape.layers * widths * tokens + shape.vocab * targets


def _attention(shape: Shape, length: float) -> float:
    """Return the operations of causal attention over a text: half of both products' squares."""
    return 2 * shape.layers * shape.heads * shape.head_dim * length**2


def _flops(device: Device, load: Workload) -> float:
    """Return the operations per second that `load` gets out of `device`."""
    return device.flops[load.precision] * EFFICIENCY[device.kind]
