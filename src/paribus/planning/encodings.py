"""Texts as tokens, kept on disk: every arm, `plan` and each run's own process share them.

    encoded(source, "raw", prompts, solutions)      # Encodings(stop=1, texts=(Encoded(…), …))

A file is called by the hash of all that its content follows from: the texts, the model's files but
for its weights, the libraries that read them. So it never grows old, and what is changed gets
another name. It begins with its own hash; a damaged one is made again.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from paribus.files import read_bytes, sha256_of_file, sha256_of_json, write_bytes
from paribus.models.source import ModelSource, cache_folder, load_tokenizer
from paribus.prompts.encode import Encoded, encode_examples, encode_prompts
from paribus.prompts.formats import stop_token

_FORMAT = 1
"""Of the files, and of what `prompts` makes of a text: another number, and all is made again."""
_WORTH_KEEPING = 100_000
"""Characters: fewer are encoded sooner than a file is on the disk."""
_READERS = ("transformers", "tokenizers", "sentencepiece", "tiktoken")
_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf"}
)
_HASH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """Texts as tokens.

    Attributes:
        stop: the token that ends a solution in their format.
        texts: in the order of the prompts; without solutions each is its prompt alone.
    """

    stop: int
    texts: tuple[Encoded, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is to be encoded. Two with one key are the same."""

    key: str
    source: ModelSource = field(compare=False)
    format: str = field(compare=False)
    prompts: Sequence[str] = field(compare=False)
    solutions: Sequence[str] | None = field(compare=False)

    @property
    def file(self) -> Path:
        return encodings_folder() / f"{self.key}.encoded"


def encodings_folder() -> Path:
    """Where encoded texts are kept."""
    return cache_folder() / "encodings"


tokenizer_of = lru_cache(maxsize=4)(load_tokenizer)
"""A source's tokenizer, loaded once: it takes seconds, and many arms share one."""


def encoded(
    source: ModelSource, format: str, prompts: Sequence[str], solutions: Sequence[str] | None = None
) -> Encodings:
    """Return `prompts` in `format`, each with its solution if there are any, as tokens.

    Raises ModelError for a tokenizer that cannot be had; PromptError as `prompts.encode` does.
    """
    made_from = [_FORMAT, _versions(), _files(source), format, prompts, solutions]
    return _encodings(
        _Request(
            key=sha256_of_json(made_from),
            source=source,
            format=format,
            prompts=prompts,
            solutions=solutions,
        )
    )


@lru_cache(maxsize=16)
def _encodings(request: _Request) -> Encodings:
    encodings = _read(request)
    if encodings is None:
        encodings = _make(request)
        if sum(map(len, request.prompts)) >= _WORTH_KEEPING:
            with suppress(OSError):  # no room: then it is made again
                write_bytes(request.file, _packed(encodings, request.key))
    return encodings


def _make(request: _Request) -> Encodings:
    tokenizer = tokenizer_of(request.source)
    stop = stop_token(format=request.format, tokenizer=tokenizer)
    if request.solutions is None:
        texts = [Encoded(ids, len(ids)) for ids in encode_prompts(request.prompts, tokenizer)]
    else:
        texts = encode_examples(request.prompts, request.solutions, stop, tokenizer)
    return Encodings(stop=stop, texts=tuple(texts))


def _read(request: _Request) -> Encodings | None:
    """Return what is kept of `request`; None if nothing is, or not as it was written."""
    try:
        content = read_bytes(request.file)
        packed = content[_HASH_BYTES:]
        if content[:_HASH_BYTES] != _hash(packed, request.key):
            return None
        arrays = load(packed)
    except (OSError, SafetensorError):
        return None
    ids = arrays["ids"].tolist()
    ends = accumulate(arrays["lengths"].tolist(), initial=0)
    texts = (tuple(ids[start:end]) for start, end in pairwise(ends))
    prompts = arrays["prompt_lengths"].tolist()
    return Encodings(stop=int(arrays["stop"][0]), texts=tuple(map(Encoded, texts, prompts)))


def _packed(encodings: Encodings, key: str) -> bytes:
    """Return a file's content: a hash, and arrays of whole numbers as safetensors."""
    numbers: dict[str, list[int]] = {
        "ids": [id for text in encodings.texts for id in text.ids],
        "lengths": [len(text.ids) for text in encodings.texts],
        "prompt_lengths": [text.prompt_length for text in encodings.texts],
        "stop": [encodings.stop],
    }
    packed: bytes = save({name: np.array(values, np.int32) for name, values in numbers.items()})
    return _hash(packed, key) + packed


def _hash(packed: bytes, key: str) -> bytes:
    return hashlib.sha256(key.encode() + packed).digest()


@lru_cache(maxsize=4)
def _files(source: ModelSource) -> dict[str, str]:
    """Return the hash of each of the model's files that a tokenizer could be made from."""
    templates = source.path / "additional_chat_templates"
    files = [path for path in (*source.path.iterdir(), *templates.glob("*")) if path.is_file()]
    hashes = {}
    for path in files:
        if path.suffix not in _WEIGHTS:
            with suppress(OSError):  # what cannot be read makes no tokenizer either
                hashes[str(path.relative_to(source.path))] = sha256_of_file(path)
    return hashes


def _versions() -> dict[str, str | None]:
    """Return the versions of what makes a tokenizer of files: another may make another."""
    return {name: _version(name) for name in _READERS}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
