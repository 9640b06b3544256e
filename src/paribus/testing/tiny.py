"""A tiny Gemma-3-shaped model and tokenizer: the whole path in seconds, for our tests and yours.

    folder = write_tiny_model(tmp_path / "tiny")
    paribus run experiment.yaml model=<folder> …

Two layers, one of them with a sliding window of 48, so that every kind of mask is exercised;
the head is tied to the embedding, as in Gemma. The tokenizer has one token per byte.
"""

from pathlib import Path
from typing import Any

_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def tiny_tokenizer(merges: tuple[tuple[str, str], ...] = ()) -> Any:
    """Return a byte-level tokenizer with Gemma's special tokens and turn markers.

    `merges` adds byte-pair merges, to test what happens where tokens join.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*_SPECIAL, *alphabet, *("".join(pair) for pair in merges)]
    model = models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=list(merges))
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", _SPECIAL.index("<bos>"))]
    )
    backend.add_special_tokens([AddedToken(text, special=True) for text in _SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def write_tiny_model(folder: Path, *, seed: int = 0, softcap: float | None = None) -> Path:
    """Write config, random weights (fp32) and tokenizer to `folder`, and return it absolute."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    tokenizer = tiny_tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=48,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=2048,
        final_logit_softcapping=softcap,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = Gemma3ForCausalLM(config)
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder.resolve()
