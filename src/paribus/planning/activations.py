"""What decoder layers keep for the backward pass, tensor by tensor, and what they take without one.

    layer_tensors(shape, load, masked=True)     # bytes per token of each tensor that is kept
    kept(shape, load)                           # bytes of a micro-batch's tensors, all layers

Read off transformers 5.23's model code as autograd sees it under autocast; tests/test_memory.py
compares the sums with what autograd saves, for every family. Per token, with D, I, Q and K the
widths of stream, MLP, queries and keys, c the bytes of the compute dtype and L the length:

    each norm           4·D, fp32; for the gradient of its weight 4·D (Gemma) or c·D more
    queries and keys    4·(Q + K) where they are normed, as much again (Gemma) or c·(Q + K)
    attention           4·c·Q: queries, repeated keys and values, result; the mask c·L
    with a soft-cap     3·c·Q, and of every head and pair of tokens 4 + 2·c
    MLP                 3·c·I: gate, its activation, up; for the gradient of `down` c·I
    inputs of q, k, v; gate, up     c·D once each (Gemma), or a copy for each layer
    an adapter          dropout's noise 4·in, its result c·in, the inner product c·r
"""

from paribus.models.shapes import Shape
from paribus.planning.workload import Workload


def compute_bytes(load: Workload) -> int:
    """Return the bytes of one value in the compute dtype."""
    return 2 if load.precision == "bf16" else 4


def layer_tensors(
    shape: Shape, load: Workload, *, masked: bool, first: bool = False
) -> list[float]:
    """Return the bytes per token of each tensor a layer keeps, weights' copies left out.

    `masked`: whether it is given a mask, as it is for padding and for sliding windows. `first`:
    whether nothing before it is trained, so that its norm and its dropouts keep nothing.
    """
    value, wide, full = compute_bytes(load), shape.hidden, load.method == "full"
    gemma = shape.model_type.startswith("gemma")
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Gemma multiplies by the norm's weight in fp32, the others in the stream's dtype.
    normed = 4 if gemma else value
    found: list[float] = [4 * wide, 4] * (shape.norms - first)
    found += [normed * wide] * shape.norms if full else []
    if shape.qk_norm:
        found += [4 * queries, 4 * keys, 4 * shape.heads, 4 * shape.kv_heads]
        found += [normed * queries, normed * keys] if full else []
    found += _attention(shape, load, masked)
    found += [value * shape.intermediate] * 3
    if full:
        # Elsewhere an fp32 norm weight makes the norm's result fp32: cast for each linear layer.
        inputs = 2 if gemma or value == 4 else 5
        return [*found, *[value * wide] * inputs, value * shape.intermediate]
    for name in set(load.lora_targets):
        into = shape.linears[name][0]
        found += [value * into, value * load.lora_r]
        reached = not (first and name in ("q_proj", "k_proj", "v_proj"))
        found += [4 * into] if load.lora_dropout and reached else []
    return found


def _attention(shape: Shape, load: Workload, masked: bool) -> list[float]:
    value, length = float(compute_bytes(load)), load.train_length
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if _has_softcap(shape):  # written out: no fused kernel has one
        pairs = shape.heads * length
        found = [value * queries] * 3 + [4.0 * pairs, value * pairs]
        found += [value * pairs] if value == 2 else []
        return [*found, value * queries] if load.method == "full" else found
    repeated = queries if masked else keys
    found = [value * queries] * 2 + [value * repeated] * 2 + [4.0 * shape.heads]
    return [*found, value * length] if masked else found


def kept(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of each tensor that one micro-batch keeps from all layers."""
    tokens = load.micro_batch * load.train_length
    if load.checkpointing:
        inputs = [float(compute_bytes(load) * shape.hidden * tokens)] * shape.layers
        return [*inputs, *_outside(shape, load)]
    found: list[float] = []
    for index in range(shape.layers):
        masked = index < _masked_layers(shape, load)
        first = index == 0 and load.method == "lora"
        found += layer_tensors(shape, load, masked=masked, first=first)
    return [*(tokens * each for each in found), *_outside(shape, load)]


def going_back(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of what is there beside `kept` while the gradients of one layer are made.

    The widest place is the MLP: two gradients at once, in fp32 on their way through a dropout. With
    recomputation the layer's own tensors are there again.
    """
    tokens, width = load.micro_batch * load.train_length, shape.intermediate
    dropped = load.method == "lora" and load.lora_dropout > 0 and "down_proj" in load.lora_targets
    found = [float((4 if dropped else compute_bytes(load)) * width * tokens)] * 2
    if load.checkpointing:
        masked = _masked_layers(shape, load) > 0
        found += [tokens * each for each in layer_tensors(shape, load, masked=masked)]
    return found


def passing(shape: Shape, load: Workload, rows: int, queries: int, slots: int) -> list[float]:
    """Return the bytes of what is alive at the widest point of a layer without gradients.

    `rows` texts are read, each `queries` tokens long, attending to `slots` tokens.
    """
    value, tokens = compute_bytes(load), rows * queries
    wide, heads = shape.heads * shape.head_dim, shape.heads
    stream = [float(value * shape.hidden * tokens)] * 2
    norm = [4.0 * shape.hidden * tokens] * 3
    mlp = [float(value * shape.intermediate * tokens)] * 3
    attention = [float(value * wide * tokens)] * 2 + [float(value * wide * rows * slots)] * 2
    if _has_softcap(shape):
        pairs = float(heads * tokens * slots)
        attention += [value * pairs, 4 * pairs, 4 * pairs]
    masks = [float(value * tokens * slots)] * (1 + (0 < shape.sliding_layers < shape.layers))
    return [*stream, *masks, *max(norm, mlp, attention, key=sum)]


def _outside(shape: Shape, load: Workload) -> list[float]:
    """Return the last norm's tensors, and the angles of the rotary embedding."""
    tokens, value = load.micro_batch * load.train_length, compute_bytes(load)
    weight = 4 if shape.model_type.startswith("gemma") else value
    last = [4 * shape.hidden * tokens, 4 * tokens]
    last += [weight * shape.hidden * tokens] if load.method == "full" else []
    kinds = 1 + (0 < shape.sliding_layers < shape.layers)
    return [*map(float, last), *[float(value * shape.head_dim * load.train_length)] * 2 * kinds]


def _masked_layers(shape: Shape, load: Workload) -> int:
    """Return how many layers get a mask: one for padding, or a window shorter than the text.

    Texts of one micro-batch are taken to differ in length.
    """
    if load.micro_batch > 1:
        return shape.layers
    window = shape.sliding_window or load.train_length
    return shape.sliding_layers if load.train_length > window else 0


def _has_softcap(shape: Shape) -> bool:
    """Return whether attention scores are capped, which Gemma 2 alone does."""
    return shape.model_type == "gemma2"
