"""Many texts at once are the tokens that each text is alone, and refused where it would be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from paribus.errors import PromptError
from paribus.prompts.encode import encode_examples, encode_prompts, leading_bos
from paribus.testing.tiny import tiny_tokenizer

MERGES = (("a", "b"), (":", "Ġ"), ("Ċ", "Ċ"), ("Ġ", "a"), ("Ġ", "Ġ"), ("b", "Ġ"), ("1", "2"))
PIECES = st.sampled_from(["a", "b", " ", "  ", "\n", ":", "1", "2", "é", "☃", "<bos>", "<eos>"])
TEXT = st.lists(PIECES, max_size=8).map("".join)


def spaced(prepend: str = "never") -> PreTrainedTokenizerFast:
    """Words that begin with a blank, as in SentencePiece; all it does not know is one <unk>."""
    pieces = ["<unk>", "<eos>", "<bos>", "▁", "a", "b", ":", "1", "2", "ab", "▁a", "12", "ba"]
    merges = [("a", "b"), ("▁", "a"), ("1", "2"), ("b", "a")]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    backend.decoder = decoders.Metaspace(prepend_scheme=prepend)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>", bos_token="<bos>"
    )


def composing() -> PreTrainedTokenizerFast:
    """Writes two characters as one: an accent that begins a solution goes to the prompt."""
    tokenizer = tiny_tokenizer(MERGES)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def trimming() -> PreTrainedTokenizerFast:
    """Leaves blanks out of its offsets, as GPT-2's does."""
    tokenizer = tiny_tokenizer(MERGES)
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


TOKENIZERS = {
    "one token per byte": tiny_tokenizer(),
    "merging": tiny_tokenizer(MERGES),
    "composing": composing(),
    "trimming": trimming(),
    "spaced": spaced(),
    "slow": ByT5Tokenizer(),
}


def once(ids: list[int], bos: int, eos: int) -> bool:
    """Whether <bos> leads, and comes again only right behind an <eos>, as between turns."""
    return all(id != bos or at == 0 or ids[at - 1] == eos for at, id in enumerate(ids))


def alone(prompt: str, solution: str, stop: int, tokenizer) -> tuple[int, ...] | None:
    """The definition, a text at a time; None if it is refused."""

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    head, tail, both = ids(prompt), ids(solution), ids(prompt + solution)
    bos = leading_bos(tokenizer)
    if bos is not None:
        head, both = ([bos] * (each[:1] != [bos]) + each for each in (head, both))
        if not (once(head, bos, stop) and once(both, bos, stop)):
            return None
    return (*both, stop) if head + tail == both and stop not in tail else None


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_every_text_is_what_it_is_alone_or_is_refused(tokenizer, pairs):
    stop = tokenizer.eos_token_id
    wanted = [alone(*pair, stop, tokenizer) for pair in pairs]
    prompts, solutions = zip(*pairs, strict=True)
    if None in wanted:
        with pytest.raises(PromptError):
            encode_examples(prompts, solutions, stop, tokenizer)
    else:
        found = encode_examples(prompts, solutions, stop, tokenizer)
        assert [each.ids for each in found] == wanted
        heads = encode_prompts(prompts, tokenizer)
        assert [each.ids[: each.prompt_length] for each in found] == heads


@pytest.mark.parametrize(
    ("name", "prompt", "solution"),
    [
        ("merging", "a:", " b"),
        ("trimming", "a:", " b"),
        ("trimming", "a\n", "\nb"),
        ("composing", "e", "\u0301a"),
        ("spaced", "a", "b"),
        ("spaced", "a☃", "☃b"),  # two that it does not know are one
    ],
)
def test_a_token_on_both_sides_is_refused(name, prompt, solution):
    with pytest.raises(PromptError, match="a token merges prompt and solution"):
        encode_examples([prompt], [solution], 1, TOKENIZERS[name])


def test_a_blank_that_only_a_text_begins_with_is_no_merge():
    """Llama 2's tokenizer puts a blank before a text: a solution alone is not what it is here."""
    tokenizer = spaced("first")
    assert tokenizer.tokenize("a") == ["▁a"]
    (found,) = encode_examples(["1:"], [" ab"], 1, tokenizer)
    assert tokenizer.convert_ids_to_tokens(found.ids) == ["▁", "1", ":", "▁", "ab", "<eos>"]
    assert found.prompt_length == 3


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_texts_keep_their_order_whatever_their_number(name, count):
    tokenizer = TOKENIZERS[name]
    numbers = [str(number) for number in range(count)]
    found = encode_examples([f"{each}:" for each in numbers], numbers, 1, tokenizer)
    wanted = [alone(f"{each}:", each, 1, tokenizer) for each in numbers]
    assert [each.ids for each in found] == wanted
