"""The moments of a run that can be its peak, and every tensor that is alive at each.

    training_moments(shape, load)["backward"]["gradients"]     # [4.2e6, …] bytes, one per tensor

A moment maps fields of `planning/memory.Parts` to sizes of tensors, one by one. N rows of logits
exist at a time, V is the vocabulary.
"""

from paribus.models.shapes import Shape
from paribus.planning.activations import compute_bytes, going_back, kept, passing
from paribus.planning.workload import Workload

Moment = dict[str, list[float]]

CHUNK = 256
"""Rows of logits that exist at once, as in training/loss and evaluation/likelihood."""

NF4_BYTES = 0.5 + (1 + 4 / 256) / 64
"""Of one weight: 4 bits, and for each 64 weights a scale of 1 byte, with an fp32 for 256 scales."""


def training_moments(shape: Shape, load: Workload, kind: str) -> dict[str, Moment]:
    """Return the moments of training on a device of `kind` that can be its peak."""
    head = 4.0 * shape.vocab * shape.hidden if load.method == "full" else 0.0
    gradients = [4.0 * each for each in trained_parameters(shape, load)]
    state = {"weights": weights(shape, load, trained=True)}
    state["optimizer"] = _states(shape, load) if load.steps > 1 else []
    added = gradients if load.accumulation > 1 else []
    copies = _copies(shape, load)
    saved = kept(shape, load)
    # A tied head's gradient and the embedding's are there at once before they are added up; later
    # passes of a step add both to what has been accumulated.
    heads = [head] * (shape.tied + (load.accumulation > 1))
    return {
        "forward": {**state, "gradients": added, "copies": copies, "activations": saved},
        "loss": {
            **state,
            "gradients": added,
            "copies": [] if load.checkpointing else copies,
            "activations": saved,
            "logits": _loss(shape, load),
        },
        "last layer back": {
            **state,
            "gradients": added,
            "copies": copies[:: shape.layers] if load.checkpointing else copies,
            "activations": saved + going_back(shape, load),
            "logits": [head],
        },
        "backward": {**state, "gradients": gradients, "logits": heads},
        "step": {
            **state,
            "optimizer": _states(shape, load) + _step(shape, load, kind),
            "gradients": gradients,
        },
    }


def evaluation_moments(shape: Shape, load: Workload) -> dict[str, Moment]:
    """Return the moments of evaluation that can be its peak; tensors in bytes."""
    value, rows = compute_bytes(load), load.eval_batch
    stored = {"weights": weights(shape, load, trained=False)}
    per_token = shape.kv_bytes_per_token(value) / (2 * shape.layers)

    def cache(length: int) -> list[float]:
        # the shared prefix once more, and one layer's old keys beside its new ones
        layers = [rows * length * per_token] * (2 * shape.layers + 2)
        return layers + [load.shared_prefix * per_token] * 2 * shape.layers

    own = load.prompt_length - load.shared_prefix
    logits = [float(rows * shape.vocab * value)]
    tokens = rows * load.gold_length
    return {
        "prompts": {
            **stored,
            "kv_cache": cache(load.prompt_length),
            "activations": passing(shape, load, rows, own, load.prompt_length),
            "logits": logits,
        },
        "last token": {
            **stored,
            "kv_cache": cache(load.prompt_length + load.new_tokens),
            "activations": passing(shape, load, rows, 1, load.prompt_length + load.new_tokens),
            "logits": logits,
        },
        "gold": {
            **stored,
            "activations": passing(shape, load, rows, load.gold_length, load.gold_length),
        },
        "likelihood": {
            **stored,
            "activations": [float(tokens * shape.hidden * value)],
            "logits": _likelihood(shape, load),
        },
    }


def weights(shape: Shape, load: Workload, *, trained: bool) -> list[float]:
    """Return the bytes of each weight tensor, while it is `trained` or when it is tested."""
    value = compute_bytes(load)
    if load.method == "full":
        return [(4.0 if trained else value) * each for each in trained_parameters(shape, load)]
    linear = NF4_BYTES if load.quantization else value
    adapters = [] if load.method == "none" else trained_parameters(shape, load)
    return [
        *(linear * each for each in _linears(shape)),
        *(float(value * each) for each in _others(shape)),
        *((4.0 if trained else value) * each for each in adapters),
    ]


def trained_parameters(shape: Shape, load: Workload) -> list[int]:
    """Return the parameters of each tensor that is trained."""
    if load.method == "full":
        return [*_linears(shape), *_others(shape)]
    found = []
    for name in set(load.lora_targets):
        found += [load.lora_r * width for width in shape.linears[name]]
    return found * shape.layers


def _linears(shape: Shape) -> list[int]:
    return [wide * out for wide, out in shape.linears.values()] * shape.layers


def _others(shape: Shape) -> list[int]:
    """Return the parameters of the embedding, of a head of its own, of norms and biases."""
    head = [] if shape.tied else [shape.head_parameters]
    return [shape.embedding_parameters, *head, shape.other_parameters]


def _states(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of the optimizer's states."""
    trained = trained_parameters(shape, load)
    if load.optimizer == "adamw":
        return [4.0 * each for each in trained for _ in range(2)]
    # bitsandbytes keeps embeddings in 32 bits, and tensors under 4,096 weights.
    embedding = shape.embedding_parameters if load.method == "full" else 0
    return [
        (4.0 if each == embedding or each < 4096 else 1 + 4 / 256) * each
        for each in trained
        for _ in range(2)
    ]


def _copies(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of autocast's copies of trained linear weights."""
    if compute_bytes(load) == 4:
        return []
    return [
        2.0 * each
        for each in (_linears(shape) if load.method == "full" else trained_parameters(shape, load))
    ]


def _step(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return what bitsandbytes takes on a CPU to update one tensor: there it is written in torch.

    A scaled gradient, a root and a quotient; for 8-bit states these too in fp32. On a GPU it is
    one kernel.
    """
    if load.optimizer == "adamw" or kind == "cuda":
        return []
    embedding = shape.embedding_parameters if load.method == "full" else 0
    largest = max(each for each in trained_parameters(shape, load) if each != embedding)
    return max([4.0 * embedding] * 3, [4.0 * largest] * 5, key=sum)


def _likelihood(shape: Shape, load: Workload) -> list[float]:
    """Return the largest set of logits while solutions are rated, a chunk after the other."""
    value = compute_bytes(load)
    rows = [CHUNK] * (load.gold_targets // CHUNK) + [load.gold_targets % CHUNK]
    # fp32 logits and their exponentials
    first = [4.0 * rows[0] * shape.vocab] * 2
    if len(rows) == 1:
        return first
    # the last chunk's are there until the next one's are made, in the compute dtype and in fp32
    made = [value / 4] * (value == 2) + [1.0]
    again = [4.0 * rows[0] * shape.vocab, *(4.0 * rows[1] * shape.vocab * each for each in made)]
    return max(first, again, key=sum)


def _loss(shape: Shape, load: Workload) -> list[float]:
    """Return the largest set of tensors inside the fused loss."""
    value, full = compute_bytes(load), load.method == "full"
    head, targets = shape.vocab * shape.hidden, load.train_targets
    copy = [2.0 * head] if full and value == 2 else []
    # fp32 logits and their exponentials; with a soft-cap the slope too
    logits = 2 + (shape.softcap is not None)
    sets = [[*copy, *[4.0 * min(CHUNK, targets) * shape.vocab] * logits]]
    if full:
        # the gradient of the logits, and of the head in the compute dtype and in fp32
        product = [2.0 * head] if value == 2 else []
        made = [*product, 4.0 * head]
        sets.append([*copy, float(min(CHUNK, targets) * shape.vocab * value), *made])
        if targets > CHUNK:  # a later chunk, beside the head's gradient
            rows = min(CHUNK, targets - CHUNK)
            sets.append([*copy, *[4.0 * rows * shape.vocab] * logits, 4.0 * head])
    return max(sets, key=sum)
