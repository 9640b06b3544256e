"""What decoder layers keep for the backward pass, tensor by tensor, and what they take without one.

    layer_tensors(shape, load, 0)              # bytes per token of each tensor that is kept
    kept(shape, load)                           # bytes of a micro-batch's tensors, all layers

Read off transformers' model code, and ours in models/, as autograd sees it under autocast;
tests/test_memory.py compares the sums with what autograd saves, for every family. Per token, with
D, I, Q and K the widths of stream, MLP, queries and keys, c the bytes of the compute dtype and L
the text's length:

    each norm           c·D: what enters it; 4
    queries and keys    where they are normed c·(Q + K) and 4 for each head; then as they attend
    attention           c·(2·Q + 2·K) and 4 for each head: its inputs and its result; where several
                        query heads share several key heads c·4·Q; with a window shorter than the
                        text c·L, its mask
    with a soft-cap     3·c·Q, and of each pair of tokens 1, and of every head 4 + 2·c
    MLP                 3·c·I: gate, its activation, up
    inputs of q, k, v; gate, up; o; down    c·D, c·D, c·Q, c·I
    an adapter          the inner product c·r; with dropout its noise c·in and its result c·in
    with DoRA           c·2·out: both products, before they are scaled
    a layer trained whole, others frozen   its input, c·in

What a run asks of its device, in numbers: `planning/cost/memory` and `planning/cost/time` read it.
"""

from dataclasses import dataclass

from paribus.config.peft_method import is_peft
from paribus.models.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What decides a run's memory and time, apart from the model's shape and the device.

    Attributes:
        method: `full`, `lora`, `none`, or one of peft's.
        quantization: `nf4`, or None.
        optimizer: its name, as in `training.optimizer`.
        precision: `bf16` or `fp32`.
        checkpointing: whether activations are recomputed.
        lora_r: rank.
        lora_targets: names of the linear layers with adapters, or that a method of peft's changes.
        lora_dropout: share of an adapter's input that training drops.
        lora_layers: numbers of the decoder layers with adapters; None: all.
        dora: whether row lengths train apart from directions.
        lora_starts: whether adapters start from the weights, and keep where they started.
        peft_sizes: the size of each tensor that a method of peft's trains.
        peft_frozen: values that it keeps beside them, in fp32.
        peft_kept: values that a pass keeps of it, apart from its tokens'.
        peft_passing: values that it takes for a moment.
        whole: names in `Shape.weights` of those that train whole: beside adapters, or alone
            (`train_only`). Of full fine-tuning that trains all none is named.
        micro_batch: examples of one pass.
        accumulation: passes of one optimizer step.
        train_length: tokens of the longest training example.
        pass_tokens: most tokens of one pass.
        train_targets: most tokens with loss in one pass.
        train_tokens: mean tokens of a training example.
        target_tokens: mean tokens with loss of an example.
        steps: optimizer steps; 0 for a baseline.
        eval_batch: problems decoded at once.
        eval_problems: problems decoded, over all protocols.
        prompt_length: tokens of the longest test prompt.
        shared_prefix: tokens that all test prompts of the longest protocol begin with.
        gold_length: tokens of the longest prompt with its gold solution.
        gold_targets: most solution tokens in one batch of the likelihood pass.
        new_tokens: most tokens that are generated; 0 if none are.
        validations: how often the model is measured while it trains.
        validation_problems: on how many problems each time.
        validation_generates: whether texts are generated for them.
        ranks: how many compute the run together; passes and problems are those of one.
        sharded: whether each holds a part of every weight while it trains.
    """

    method: str
    quantization: str | None
    optimizer: str
    precision: str
    checkpointing: bool
    lora_r: int
    lora_targets: tuple[str, ...]
    micro_batch: int
    accumulation: int
    train_length: int
    pass_tokens: int
    train_targets: int
    train_tokens: float
    target_tokens: float
    steps: int
    eval_batch: int
    eval_problems: int
    prompt_length: int
    shared_prefix: int
    gold_length: int
    gold_targets: int
    new_tokens: int
    lora_dropout: float = 0.05
    validations: int = 0
    validation_problems: int = 0
    validation_generates: bool = False
    lora_layers: tuple[int, ...] | None = None
    dora: bool = False
    lora_starts: bool = False
    whole: tuple[str, ...] = ()
    peft_sizes: tuple[tuple[int, ...], ...] = ()
    peft_frozen: int = 0
    peft_kept: int = 0
    peft_passing: int = 0
    ranks: int = 1
    sharded: bool = False

    @property
    def trains_all(self) -> bool:
        """Whether every weight of the model is trained."""
        return self.method == "full" and not self.whole

    @property
    def by_peft(self) -> bool:
        """Whether peft's own code trains the model, by another method than LoRA."""
        return is_peft(self.method)

    def adapts(self, layer: int) -> bool:
        """Return whether decoder layer number `layer` has adapters."""
        chosen = self.lora_layers is None or layer in self.lora_layers
        return self.method == "lora" and chosen

    def adapted_layers(self, shape: Shape) -> int:
        """Return how many decoder layers have adapters."""
        return sum(map(self.adapts, range(shape.layers)))

    def trains_whole(self, module: str) -> bool:
        """Return whether the embedding or the head, by its name, is trained."""
        return self.trains_all or f"{module}.weight" in self.whole


def compute_bytes(load: Workload) -> int:
    """Return the bytes of one value in the compute dtype."""
    return 2 if load.precision == "bf16" else 4


_INPUTS = ({"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"gate_proj", "up_proj"}, {"down_proj"})
"""Linear layers that read the same tensor."""


def layer_tensors(shape: Shape, load: Workload, index: int, *, first: bool = False) -> list[float]:
    """Return the bytes per token of each tensor layer `index` keeps, weights' copies left out.

    `first`: whether nothing before it is trained, so that its norm and its dropouts keep nothing.
    """
    value, wide = compute_bytes(load), shape.hidden
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    tensors: list[float] = [value * wide, 4] * (shape.norms - first)
    if shape.qk_norm:
        tensors += [value * queries, value * keys, 4 * shape.heads, 4 * shape.kv_heads]
    tensors += _attention(shape, load, sliding=index < shape.sliding_layers)
    tensors += [value * shape.intermediate] * 3
    inputs = [*[value * wide] * 2, value * queries, value * shape.intermediate]
    if load.trains_all:
        return [*tensors, *inputs]
    if load.by_peft:
        return [*tensors, *inputs, *_changed(shape, load)]
    whole = {name.split(".")[-2] for name in _whole_in(load, index) if name.endswith("weight")}
    tensors += [value * _input(shape, group & whole) for group in _INPUTS if group & whole]
    return [*tensors, *(_adapters(shape, load, first=first) if load.adapts(index) else [])]


def _changed(shape: Shape, load: Workload) -> list[float]:
    """Return more than any method of peft's keeps of what enters and leaves the layers it changes.

    Its own copies of both in fp32, before and after they are changed.
    """
    return [8.0 * sum(shape.linears[name]) for name in load.lora_targets]


def _whole_in(load: Workload, index: int) -> list[str]:
    """Return the weights of layer `index` that train whole."""
    return [name for name in load.whole if f".layers.{index}." in name]


def _input(shape: Shape, names: set[str]) -> int:
    """Return the width of what the linear layers `names` read, which is one tensor."""
    return shape.linears[min(names)][0]


def _adapters(shape: Shape, load: Workload, *, first: bool) -> list[float]:
    """Return what the adapters of a layer keep: inputs that several share are there once."""
    value, named = compute_bytes(load), set(load.lora_targets)
    tensors: list[float] = [value * load.lora_r * (1 + load.lora_starts)] * len(named)
    if load.dora:
        tensors += [value * shape.linears[name][1] for name in named for _ in range(2)]
    for group in _INPUTS:
        using = named & group
        if not using:
            continue
        width = value * _input(shape, using)
        if not load.lora_dropout:
            tensors.append(width)
            continue
        reached = not (first and "q_proj" in group)
        tensors += [width] * len(using) * (1 + reached)
    return tensors


def _attention(shape: Shape, load: Workload, *, sliding: bool) -> list[float]:
    value = float(compute_bytes(load))
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if _has_softcap(shape):  # written out: no fused kernel has one
        pairs = shape.heads * load.train_length
        scores = [4.0 * pairs, *[value * pairs] * (2 if value == 2 else 1)]
        return [value * queries] * 3 + scores + [float(load.train_length)]
    window = shape.sliding_window or load.train_length
    mask = [value * load.train_length] * (sliding and load.train_length > window)
    shared = keys if shape.kv_heads in (1, shape.heads) else queries
    return [value * queries] * 2 + [value * shared] * 2 + [4.0 * shape.heads] + mask


def kept(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of each tensor that one micro-batch keeps from all layers."""
    tokens = load.pass_tokens
    start, bare = first_trained(shape, load)
    if load.checkpointing:
        inputs = [float(compute_bytes(load) * shape.hidden * tokens)] * (shape.layers - start)
        return [*inputs, *_outside(shape, load)]
    per_token: list[float] = []
    for index in range(start, shape.layers):
        per_token += layer_tensors(shape, load, index, first=bare and index == start)
    return [*(tokens * value for value in per_token), *_outside(shape, load)]


def first_trained(shape: Shape, load: Workload) -> tuple[int, bool]:
    """Return the first layer that keeps something, and whether what enters it has no gradient.

    All tensors of that layer count, also where only its last weights are trained: a bound.
    """
    if load.by_peft or load.trains_whole("model.embed_tokens"):
        return 0, False
    trained = [i for i in range(shape.layers) if load.adapts(i) or _whole_in(load, i)]
    start = trained[0] if trained else shape.layers
    return start, not any("input_layernorm" in name for name in _whole_in(load, start))


def going_back(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return the bytes in addition to `kept` while one layer's gradients are computed.

    The widest place is the MLP: two gradients at once. With recomputation the layer's own tensors
    are there again; on a CPU twice, for those of the layer before lie there in pieces.
    """
    tensors = [float(compute_bytes(load) * shape.intermediate * load.pass_tokens)] * 2
    if load.checkpointing:
        lowest = min(first_trained(shape, load)[0], shape.layers - 1)
        trained = load.lora_layers[0] if load.lora_layers else lowest
        again = [load.pass_tokens * n for n in layer_tensors(shape, load, trained)]
        tensors += again * (2 if kind == "cpu" else 1)
    return tensors


def passing(shape: Shape, load: Workload, rows: int, queries: int, slots: int) -> list[float]:
    """Return the bytes of what is alive at the widest point of a layer without gradients.

    `rows` texts are read, each `queries` tokens long, attending to `slots` tokens of a cache.
    """
    value, tokens = compute_bytes(load), rows * queries
    wide, heads = shape.heads * shape.head_dim, shape.heads
    stream = [float(value * shape.hidden * tokens)] * 2
    norm = [4.0 * shape.hidden * tokens] * 2
    mlp = [float(value * shape.intermediate * tokens)] * 3
    attention = [float(value * wide * tokens)] * 2 + [float(value * wide * rows * slots)] * 2
    if _has_softcap(shape):
        pairs = float(heads * tokens * slots)
        attention += [value * pairs] * 2 + [4 * pairs] * 2
    masks = [float(value * tokens * slots)] * (1 + (0 < shape.sliding_layers < shape.layers))
    return [*stream, *masks, *max(norm, mlp, attention, key=sum)]


def _outside(shape: Shape, load: Workload) -> list[float]:
    """Return the last norm's tensors, and the angles of the rotary embedding."""
    tokens, value = load.pass_tokens, compute_bytes(load)
    last = [value * shape.hidden * tokens, 4 * tokens]
    kinds = 1 + (0 < shape.sliding_layers < shape.layers)
    return [*map(float, last), *[float(value * shape.head_dim * tokens)] * 2 * kinds]


def _has_softcap(shape: Shape) -> bool:
    """Return whether attention scores are capped, which Gemma 2 alone does."""
    return shape.model_type == "gemma2"
