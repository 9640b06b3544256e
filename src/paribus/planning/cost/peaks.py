"""The moments of a run that can be its peak, and every tensor that is alive at each.

    training_moments(shape, load, "cpu")["backward"]["gradients"]   # [4.2e6, …] bytes of tensors

A moment maps fields of `planning/cost/memory.Parts` to sizes of tensors, one by one.
"""

from math import prod

from paribus.models.shapes import Shape
from paribus.models.tiles import (
    ALIGN,
    CACHE_SLOTS,
    DECODED_TILE,
    GOLD_TOKENS,
    GPU_PROMPT_TOKENS,
    GPU_VISIBLE_SLOTS,
    GUESSES,
    PROMPT_TOKENS,
    decoded_rows,
    loss_block,
    round_up,
)
from paribus.planning.cost.activations import Workload, compute_bytes, going_back, kept, passing

Moment = dict[str, list[float]]

HOLES = 0.35
"""What a CPU's heap takes beyond the activations in it. For aligned memory glibc 2.36 uses no freed
piece of exactly the size that is asked for, only larger ones. Measured: 0.2 to 0.5."""

NF4_BYTES = 0.5 + (1 + 4 / 256) / 64
"""Of one weight: 4 bits, and for each 64 weights a scale of 1 byte, with an fp32 for 256 scales."""


def training_moments(shape: Shape, load: Workload, kind: str) -> dict[str, Moment]:
    """Return the moments of training on a device of `kind` that can be its peak."""
    gradients = [4.0 * trained_parameter for trained_parameter in trained_parameters(shape, load)]
    # The head's gradient is made in the loss, into memory that stays; the others come and go.
    head = [4.0 * shape.vocab * shape.hidden] * load.trains_whole("lm_head")
    own = head if load.ranks > 1 else []
    # Of several ranks all gradients lie in memory that stays, to be reduced there; what the loss
    # makes of the head's is apart until it is added.
    stay = load.ranks > 1 or load.accumulation > 1
    added = gradients if stay else head
    state = {
        "weights": weights(shape, load, trained=True),
        "optimizer": _states(shape, load) if load.steps > 1 else [],
    }
    copies, copy = _copies(shape, load), _head_copy(shape, load)
    kept_logits = _kept_logits(shape, load, kind)
    held = _held_copies(shape, load, kind)
    saved = kept(shape, load) + _kept_weights(shape, load)
    back = going_back(shape, load, kind)
    holes = [HOLES * sum(saved + back)] * (kind == "cpu")
    freed = [*saved, *back, *_freed(shape, load)] if kind == "cpu" else []
    moments = {
        "loss": {
            **state,
            "gradients": added,
            "copies": copy + ([] if load.checkpointing else copies),
            "activations": saved + holes,
            "logits": kept_logits + own + _tile(shape, load, kind),
        },
        "adapters": {
            **state,
            "gradients": added,
            "copies": copy + ([] if load.checkpointing else copies),
            "activations": saved + holes + _row_lengths(shape, load),
            "logits": kept_logits + own,
        },
        "last layer back": {
            **state,
            "gradients": added,
            "copies": copy + (copies[:: shape.layers] if load.checkpointing else copies),
            "activations": saved + back + holes,
            "logits": kept_logits + own,
        },
        "backward": {
            **state,
            "copies": copy + held,
            "gradients": gradients,
            "activations": freed + _embedding_gradient(shape, load, kind),
            "logits": kept_logits + own,
        },
        "step": {
            **state,
            "copies": copy,
            "activations": freed,
            "optimizer": _states(shape, load) + _step(shape, load, kind),
            "gradients": gradients,
            "logits": kept_logits,
        },
    }
    return _sharded(moments, shape, load) if load.sharded else moments


def _sharded(moments: dict[str, Moment], shape: Shape, load: Workload) -> dict[str, Moment]:
    """Return the moments of a rank that holds a part of each weight, gradient and state.

    What is at work lies there whole, in the compute dtype: embedding, head and two layers, one of
    which is gathered ahead; and of one layer, or of embedding and head, the gradients, once more in
    fp32 to be reduced.
    """
    value, ends = compute_bytes(load), float(shape.vocab * shape.hidden)
    layer = float(sum(wide * out for wide, out in shape.linears.values()))
    adapters = sum(map(prod, shape.adapter_sizes(load.lora_r, load.lora_targets)))
    layer += adapters if load.method == "lora" else 0
    at_work = [value * ends] * (1 if shape.tied else 2) + [value * layer] * 2
    trained = layer if load.trains_all else adapters
    reduced = {"last layer back": trained, "backward": ends * load.trains_whole("lm_head")}
    split = {"weights", "optimizer", "gradients"}
    return {
        name: {
            **{part: [size / load.ranks for size in of] if part in split else of
               for part, of in moment.items()},
            "copies": at_work if name != "step" else [value * ends],
            "logits": moment["logits"] + [(value + 4) * reduced.get(name, 0.0)],
        }
        for name, moment in moments.items()
    }  # fmt: skip


def evaluation_moments(shape: Shape, load: Workload, kind: str) -> dict[str, Moment]:
    """Return the moments of evaluation that can be its peak; tensors in bytes."""
    value, rows = compute_bytes(load), load.eval_batch
    blocked = kind == "cpu" and value == 2
    replaced = _replaced(shape, load) if blocked else []
    # The head's blocks are a copy: as an embedding it is read as it is.
    head = [2.0 * shape.vocab * shape.hidden] * blocked
    stored = {"weights": weights(shape, load, trained=False), "copies": replaced}
    per_token = shape.kv_bytes_per_token(value) / (2 * shape.layers)
    on_gpu = kind == "cuda"

    def cache(length: int) -> list[float]:
        # one tensor more: while the cache grows or shrinks, a layer's old one beside its new one
        return [rows * round_up(length, CACHE_SLOTS) * per_token] * (2 * shape.layers + 1)

    own = round_up(max(1, load.prompt_length - load.shared_prefix - 1), ALIGN)
    length = load.prompt_length + load.new_tokens
    if on_gpu:  # which has no longer a cache later, and reads it in larger pieces
        length = round_up(length + max(GUESSES), GPU_VISIBLE_SLOTS)
    at_once = GPU_PROMPT_TOKENS if on_gpu else PROMPT_TOKENS
    read = max(GUESSES) + 1  # tokens of a row that a step of decoding reads at most
    logits = [float(rows * read * min(DECODED_TILE, shape.vocab) * value)] * 3
    if on_gpu:
        logits = [float(min(rows * read, decoded_rows(shape.vocab)) * shape.vocab * value)]
    tokens = min(rows * load.gold_length, max(GOLD_TOKENS, load.gold_length))
    # All texts of a pass in the MLP, or one in attention where that is written out.
    texts = passing(shape, load, 1, tokens, 0)
    gold = max(texts, passing(shape, load, 1, load.gold_length, load.gold_length), key=sum)
    return {
        "prompts": {
            **stored,
            "copies": replaced + head,
            "kv_cache": cache(length if on_gpu else load.prompt_length),
            "activations": passing(
                shape,
                load,
                max(1, min(rows, at_once // own)),
                min(own, at_once),
                load.prompt_length,
            ),
        },
        "last tokens": {
            **stored,
            "kv_cache": cache(length),
            "copies": replaced + head,
            "activations": passing(shape, load, rows, read, length),
            "logits": logits,
        },
        "gold": {
            **stored,
            "activations": gold + [HOLES * sum(gold)] * (kind == "cpu"),
        },
        "likelihood": {
            **stored,
            "activations": [float(tokens * shape.hidden * value)],
            "logits": _likelihood(shape, load, kind),
        },
    }


def validation_moments(shape: Shape, load: Workload, kind: str) -> dict[str, Moment]:
    """Return the moments of measuring a model that trains: those of a test, beside what it needs.

    Weights in training stay, and the rounded ones lie beside them; no weight is kept in blocks but
    those of the head.
    """
    if not load.validations:
        return {}
    value = compute_bytes(load)
    rounded = [2.0 * size for size in trained_parameters(shape, load)] if value == 2 else []
    vocabulary = float(shape.vocab * shape.hidden)
    decoded = {"prompts", "last tokens"} if load.validation_generates else set()
    return {
        f"validation, {name}": {
            **moment,
            "weights": weights(shape, load, trained=True),
            "optimizer": _states(shape, load),
            "copies": rounded
            + _head_copy(shape, load)
            + [2.0 * vocabulary] * (name in decoded and kind == "cpu" and value == 2),
            "gradients": [4.0 * size for size in trained_parameters(shape, load)]
            if load.ranks > 1
            else [4.0 * vocabulary] * load.trains_whole("lm_head"),
            "logits": _kept_logits(shape, load, kind) + moment.get("logits", []),
        }
        for name, moment in evaluation_moments(shape, load, kind).items()
        if name in decoded | {"gold", "likelihood"}
    }


def weights(shape: Shape, load: Workload, *, trained: bool) -> list[float]:
    """Return the bytes of each weight tensor, while it is `trained` or when it is tested."""
    value = compute_bytes(load)
    linear = NF4_BYTES if load.quantization else value
    own = [
        *(float(linear * size) for size in _linears(shape)),
        *(float(value * other) for other in _other_parameters(shape)),
    ]
    if load.method == "full":  # masters are wider than the weights in whose place they are
        masters = trained_parameters(shape, load) if trained else []
        return [*own, *((4.0 - value) * size for size in masters)]
    adapters = [] if load.method == "none" else trained_parameters(shape, load)
    return [
        *own,
        *((4.0 if trained else value) * adapter for adapter in adapters),
        *((4.0 if trained else value) * adapter for adapter in adapters if load.lora_starts),
        *[4.0 * load.peft_frozen] * load.by_peft,
    ]


def trained_parameters(shape: Shape, load: Workload) -> list[int]:
    """Return the parameters of each tensor that is trained."""
    if load.trains_all:
        return [*_linears(shape), *_other_parameters(shape)]
    return [prod(size) for size in trained_sizes(shape, load)]


def trained_sizes(shape: Shape, load: Workload) -> list[tuple[int, ...]]:
    """Return the sizes of each tensor that is trained where not all are: adapters, whole ones."""
    if load.by_peft:
        return list(load.peft_sizes)
    layers = load.adapted_layers(shape)
    adapters = shape.adapter_sizes(load.lora_r, load.lora_targets, dora=load.dora)
    sizes = shape.weights if load.whole else {}
    if load.method == "full" and shape.tied:  # one tensor; peft would make a copy for each name
        sizes.pop("lm_head.weight", None)
    return [*adapters * layers, *(sizes[name] for name in load.whole if name in sizes)]


def _linears(shape: Shape) -> list[int]:
    return [wide * out for wide, out in shape.linears.values()] * shape.layers


def _other_parameters(shape: Shape) -> list[int]:
    """Return the parameters of the embedding, of its own head, of norms and biases."""
    head = [] if shape.tied else [shape.head_parameters]
    return [shape.embedding_parameters, *head, shape.other_parameters]


_STATES = {
    "adamw": 2, "paged_adamw": 2, "lion": 1, "paged_lion": 1, "adagrad": 1, "rmsprop": 1, "sgd": 0,
}  # fmt: skip
"""How many values an optimizer keeps of a weight. Paged ones count where they are on a GPU."""


def _states(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of the optimizer's states."""
    trained = trained_parameters(shape, load)
    if load.optimizer == "adafactor":
        return [4.0 * size for size in _factored(shape, load)]
    if load.optimizer == "muon":  # one of each matrix, AdamW's two of what is none
        matrices = [prod(size) for size in trained_matrices(shape, load)]
        return [*(4.0 * size for size in matrices), 8.0 * (sum(trained) - sum(matrices))]
    count = _STATES[load.optimizer.removesuffix("_8bit").removesuffix("_32bit")]
    if not load.optimizer.endswith("_8bit"):
        return [4.0 * size for size in trained for _ in range(count)]
    # bitsandbytes keeps embeddings in 32 bits, and tensors under 4,096 weights.
    embedding = shape.embedding_parameters * load.trains_whole("model.embed_tokens")
    return [
        (4.0 if size == embedding or size < 4096 else 1 + 4 / 256) * size
        for size in trained
        for _ in range(count)
    ]


def _factored(shape: Shape, load: Workload) -> list[int]:
    """Return the values Adafactor keeps of each tensor: of a matrix its rows' and columns' means.

    Of norms and biases it keeps one for each weight.
    """
    if not load.trains_all:
        return [sum(size) for size in trained_sizes(shape, load)]
    layer = [wide + out for wide, out in shape.linears.values()]
    ends = [shape.vocab + shape.hidden] * (1 if shape.tied else 2)
    return [*layer * shape.layers, *ends, shape.other_parameters]


def _copies(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of autocast's copies of trained linear weights."""
    if compute_bytes(load) == 4:
        return []
    return [2.0 * prod(size) for size in trained_matrices(shape, load)]


def _held_copies(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return the bytes of copies that a GPU keeps for the next pass of a step."""
    again = kind == "cuda" and load.accumulation > 1 and not load.checkpointing
    return _copies(shape, load) if again else []


def trained_matrices(shape: Shape, load: Workload) -> list[tuple[int, ...]]:
    """Return the sizes of each matrix that is trained, embedding and head left out."""
    if load.trains_all:
        return [*shape.linears.values()] * shape.layers
    ends = (shape.vocab, shape.hidden)  # the head has a copy of its own, an embedding none
    return [size for size in trained_sizes(shape, load) if len(size) == 2 and size != ends]


def _row_lengths(shape: Shape, load: Workload) -> list[float]:
    """Return what peft takes for a moment: for the row lengths of DoRA's widest layer, or as known.

    B · A is made by multiplying an identity matrix of the layer's width; then it is scaled, added
    to the weight, and that measured.
    """
    if not load.dora:
        return [4.0 * load.peft_passing]
    value = compute_bytes(load)
    widths = [shape.linears[name] for name in load.lora_targets]
    layers = [
        [4.0 * wide**2, *[2.0 * wide**2] * (value == 2), *[float(value * wide * out)] * 4]
        for wide, out in widths
    ]
    return max(layers, key=sum)


def _kept_weights(shape: Shape, load: Workload) -> list[float]:
    """Return the weights that adapters make of others and keep for the backward pass.

    DoRA keeps 4-bit weights in the compute dtype for their second product; adapters that started
    from weights keep both halves of B in one, and a copy of A's start.
    """
    value, r, sizes = compute_bytes(load), load.lora_r, list[float]()
    if load.by_peft:
        return [4.0 * load.peft_kept]
    if not (load.dora or load.lora_starts):
        return sizes
    for wide, out in (shape.linears[name] for name in load.lora_targets):
        if load.dora and load.quantization and load.lora_dropout:
            sizes.append(float(value * wide * out))
        if load.lora_starts:
            sizes += [float(value * 2 * r * out), *[2.0 * r * wide] * (value == 2)]
    return sizes * (1 if load.checkpointing else load.adapted_layers(shape))


def _replaced(shape: Shape, load: Workload) -> list[float]:
    """Return what is left of linear weights that were read from a file and are now in blocks.

    The file's pages stay in memory until something else needs it.
    """
    return [] if load.trains_all or load.quantization else [2.0 * w for w in _linears(shape)]


def _step(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return what the optimizer takes to update one tensor, where that is more than one kernel.

    bitsandbytes is written in torch on a CPU: a scaled gradient, a root and a quotient; for 8-bit
    states these too in fp32. Adafactor holds two tensors of the gradient's size. SGD adds weight
    decay to a copy of the gradient: on a GPU of all gradients at once. Adagrad and RMSprop also
    take a root. Muon holds a step in fp32, and three of it in bf16 while it is made orthogonal.
    """
    sizes = [4.0 * size for size in trained_parameters(shape, load)]
    if load.optimizer == "adafactor":
        return [max(sizes)] * 2
    if load.optimizer in ("sgd", "adagrad", "rmsprop"):
        copies = sizes if kind == "cuda" else [max(sizes)]
        return copies if load.optimizer == "sgd" else copies * 2
    if load.optimizer == "muon":
        widest = float(max(map(prod, trained_matrices(shape, load)), default=0))
        return [4 * widest, *[2 * widest] * 3]
    if load.optimizer == "adamw" or kind == "cuda":
        return []
    embedding = shape.embedding_parameters * load.trains_whole("model.embed_tokens")
    largest = max(
        trained_parameter
        for trained_parameter in [0, *trained_parameters(shape, load)]
        if trained_parameter != embedding
    )
    return max([4.0 * embedding] * 3, [4.0 * largest] * 5, key=sum)


def _likelihood(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return a tile of logits in the compute dtype and in fp32, and its exponentials."""
    rows, columns = loss_block(kind, shape.vocab)
    size = float(min(rows, load.gold_targets) * columns)
    return [compute_bytes(load) * size, 4 * size, 4 * size]


def _tile(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return the loss's memory without the kept exponentials: a tile of fp32 logits.

    With a soft-cap its slope too; and the hidden states' gradient.
    """
    most, columns = loss_block(kind, shape.vocab)
    rows = min(most, load.train_targets)
    logits = [4.0 * rows * columns] * (1 + (shape.softcap is not None))
    return [*logits, 4.0 * rows * shape.hidden, float(compute_bytes(load)) * rows * shape.hidden]


def _freed(shape: Shape, load: Workload) -> list[float]:
    """Return freed memory that a CPU process still holds after a pass.

    Its C library keeps what is freed in pieces.

    Neither gradients nor states fit into those of activations; a further pass's gradients lie
    beside what they are added to.
    """
    again = load.method == "full" and load.accumulation > 1
    gradients = [4.0 * prod(size) for size in trained_matrices(shape, load)]
    return [*_copies(shape, load), *(gradients if again else [])]


def _kept_logits(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return the bytes of the loss's exponentials, whose memory stays from pass to pass."""
    rows, _ = loss_block(kind, shape.vocab)
    return [float(compute_bytes(load) * min(rows, load.train_targets) * shape.vocab)]


def _head_copy(shape: Shape, load: Workload) -> list[float]:
    """Return the bytes of a trained head in the compute dtype."""
    trained = load.trains_whole("lm_head") and compute_bytes(load) == 2
    return [2.0 * shape.vocab * shape.hidden] if trained else []


def _embedding_gradient(shape: Shape, load: Workload, kind: str) -> list[float]:
    """Return the gradients of one pass's embeddings, before they are added to the whole.

    On a GPU and on several ranks they are made for the whole vocabulary.
    """
    trained = load.trains_whole("model.embed_tokens")
    rows = shape.vocab if kind == "cuda" or load.ranks > 1 else load.pass_tokens
    return [4.0 * rows * shape.hidden] if trained else []
