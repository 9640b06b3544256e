"""How much is worked on at once: plans and passes read the same sizes. No torch is imported.

round_up(45, ALIGN)       # 64
"""

ROWS = 1024
"""Completion tokens whose logits the loss and the likelihood work on at once, on a CPU."""

TILE = 4096
"""Logits of a row that exist at once there: with 1,024 rows 8 MB in bf16, which a cache holds."""

LOSS_BYTES = 4 * 10**9
"""What logits may take on a GPU: they are made for the whole vocabulary, as many rows as fit."""

DECODED_TILE = 16384
"""Logits of a row that exist at once in decoding on a CPU; on a GPU all of them do."""

GUESSES = (1, 3, 7)
"""How many tokens may be guessed in a step of decoding, if any."""

PROMPT_TOKENS, GPU_PROMPT_TOKENS = 512, 8192
"""Tokens, padding included, of a pass over prompts. More fit no cache of a CPU; fewer leave a GPU
waiting for the next kernel."""

ALIGN = 32
"""The length of such a pass is a multiple of it: oneDNN keeps kernels for each shape it meets."""

VISIBLE_SLOTS, GPU_VISIBLE_SLOTS = 32, 256
"""Attention sees a multiple of this many slots of the cache of keys. On a GPU each number of them
is a shape of its own to record (`evaluation/engine/graphs`)."""

CACHE_SLOTS = 128
"""That cache has a multiple of this many slots, which holds the longest text so far."""

GOLD_TOKENS = 4096
"""Tokens of a pass over gold solutions, unless a single text has more."""


def loss_block(kind: str, vocabulary: int) -> tuple[int, int]:
    """Return for how many rows, and how many columns of the vocabulary, logits exist at once.

    `kind` is the device's. A logit takes 6 bytes: fp32, and bf16 that stays for the gradients.
    """
    if kind != "cuda":
        return ROWS, min(TILE, vocabulary)
    return max(1, LOSS_BYTES // (6 * vocabulary)), vocabulary


def decoded_rows(vocabulary: int) -> int:
    """Return for how many tokens a GPU makes logits of a whole `vocabulary` at once in decoding."""
    return max(1, LOSS_BYTES // (4 * vocabulary))


def round_up(number: int, step: int) -> int:
    """Return the least multiple of `step` that is not below `number`."""
    return -(-number // step) * step
