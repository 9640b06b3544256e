"""Values of a config.json, each checked before anything is computed from it, and built-in configs.

    config = Config(values=read_config(folder / "config.json"), where="my-model/config.json")
    config.size("hidden_size")             # 640
    config.size("head_dim", 256)           # 256 where the file leaves it out
    config.size("num_hidden_layers")       # ModelError: … num_hidden_layers is -2 …

    MODEL_FAMILIES["gemma3_text"].head_dim   # 256: the default of transformers 5.23
    CONFIGS["google/gemma-2b"]               # {"model_type": "gemma", "hidden_size": 2048, …}

The built-in configs are copied from the Hub. Tests build each model without weights and compare its
number of parameters with the published one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

from paribus.errors import ModelError
from paribus.files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """One `model_type`: how its layers are built, and what its config.json may leave out.

    Attributes:
        architecture: the class of the causal language model.
        vocab, heads, context, tied: defaults of what `Shape` calls by these names.
        kv_heads: default; None for as many as there are heads.
        head_dim: default; None for hidden / heads.
        window: default of `sliding_window`.
        slides: which layers see only the window: every `other` one beginning with the first, all
            but the last of every `few` (6), those from `max_window_layers` on if
            `use_sliding_window` says so (`late`), `all`, or `none`.
        softcap: default cap on the final logits.
        norms: RMS norms of a layer over the residual stream.
        qk_norm: whether queries and keys are normed.
        biases: on `qkv` always, on q, k, v and o if `attention_bias` says so (`asked`), on these
            and on the MLP if `attention_bias` and `mlp_bias` say so (`llama`), or `none`.
    """

    architecture: str
    vocab: int
    heads: int
    kv_heads: int | None
    head_dim: int | None
    context: int
    tied: bool
    window: int | None = None
    slides: Literal["none", "other", "few", "late", "all"] = "none"
    softcap: float | None = None
    norms: int = 2
    qk_norm: bool = False
    biases: Literal["none", "asked", "llama", "qkv"] = "asked"


MODEL_FAMILIES: Mapping[str, ModelFamily] = {
    "gemma": ModelFamily(
        architecture="GemmaForCausalLM",
        vocab=256_000, heads=16, kv_heads=16, head_dim=256, context=8192, tied=True,
    ),
    "gemma2": ModelFamily(
        architecture="Gemma2ForCausalLM",
        vocab=256_000, heads=8, kv_heads=4, head_dim=256, context=8192, tied=True,
        window=4096, slides="other", softcap=30.0, norms=4,
    ),
    "gemma3_text": ModelFamily(
        architecture="Gemma3ForCausalLM",
        vocab=262_208, heads=8, kv_heads=4, head_dim=256, context=131_072, tied=True,
        window=4096, slides="few", norms=4, qk_norm=True,
    ),
    "llama": ModelFamily(
        architecture="LlamaForCausalLM",
        vocab=32_000, heads=32, kv_heads=None, head_dim=None, context=2048, tied=False,
        biases="llama",
    ),
    "mistral": ModelFamily(
        architecture="MistralForCausalLM",
        vocab=32_000, heads=32, kv_heads=8, head_dim=None, context=131_072, tied=False,
        window=4096, slides="all", biases="none",
    ),
    "qwen2": ModelFamily(
        architecture="Qwen2ForCausalLM",
        vocab=151_936, heads=32, kv_heads=32, head_dim=None, context=32_768, tied=False,
        window=4096, slides="late", biases="qkv",
    ),
    "qwen3": ModelFamily(
        architecture="Qwen3ForCausalLM",
        vocab=151_936, heads=32, kv_heads=32, head_dim=128, context=32_768, tied=False,
        window=4096, slides="late", qk_norm=True,
    ),
}  # fmt: skip
"""By `model_type`. SmolLM2 is a `llama`; `gemma3`, with images, holds a `gemma3_text`."""

_KEYS = (
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
    "tie_word_embeddings", "sliding_window", "dtype",
)  # fmt: skip

_MODELS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    # models: kind, hidden, inside the MLP, layers, heads, kv, width, vocab, context, tied, window
    ("google/gemma-2b google/gemma-2b-it google/gemma-1.1-2b-it",
     ("gemma", 2048, 16384, 18, 8, 1, 256, 256_000, 8192, True, None, "bfloat16")),
    ("google/gemma-7b google/gemma-7b-it google/gemma-1.1-7b-it",
     ("gemma", 3072, 24576, 28, 16, 16, 256, 256_000, 8192, True, None, "bfloat16")),
    ("google/gemma-2-2b",
     ("gemma2", 2304, 9216, 26, 8, 4, 256, 256_000, 8192, True, 4096, "float32")),
    ("google/gemma-2-2b-it",
     ("gemma2", 2304, 9216, 26, 8, 4, 256, 256_000, 8192, True, 4096, "bfloat16")),
    ("google/gemma-2-9b",
     ("gemma2", 3584, 14336, 42, 16, 8, 256, 256_000, 8192, True, 4096, "float32")),
    ("google/gemma-2-9b-it",
     ("gemma2", 3584, 14336, 42, 16, 8, 256, 256_000, 8192, True, 4096, "bfloat16")),
    ("google/gemma-3-270m google/gemma-3-270m-it",
     ("gemma3_text", 640, 2048, 18, 4, 1, 256, 262_144, 32_768, True, 512, "bfloat16")),
    ("google/gemma-3-1b-pt google/gemma-3-1b-it",
     ("gemma3_text", 1152, 6912, 26, 4, 1, 256, 262_144, 32_768, True, 512, "bfloat16")),
    ("google/gemma-3-4b-pt google/gemma-3-4b-it",
     ("gemma3", 2560, 10240, 34, 8, 4, 256, 262_208, 131_072, True, 1024, "bfloat16")),
    ("google/gemma-3-12b-pt google/gemma-3-12b-it",
     ("gemma3", 3840, 15360, 48, 16, 8, 256, 262_208, 131_072, True, 1024, "bfloat16")),
    ("meta-llama/Llama-3.2-1B meta-llama/Llama-3.2-1B-Instruct",
     ("llama", 2048, 8192, 16, 32, 8, 64, 128_256, 131_072, True, None, "bfloat16")),
    ("meta-llama/Llama-3.2-3B meta-llama/Llama-3.2-3B-Instruct",
     ("llama", 3072, 8192, 28, 24, 8, 128, 128_256, 131_072, True, None, "bfloat16")),
    ("meta-llama/Llama-3.1-8B meta-llama/Llama-3.1-8B-Instruct",
     ("llama", 4096, 14336, 32, 32, 8, 128, 128_256, 131_072, False, None, "bfloat16")),
    ("Qwen/Qwen2.5-0.5B Qwen/Qwen2.5-0.5B-Instruct",
     ("qwen2", 896, 4864, 24, 14, 2, 64, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen2.5-1.5B",
     ("qwen2", 1536, 8960, 28, 12, 2, 128, 151_936, 131_072, True, None, "bfloat16")),
    ("Qwen/Qwen2.5-1.5B-Instruct",
     ("qwen2", 1536, 8960, 28, 12, 2, 128, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen2.5-3B Qwen/Qwen2.5-3B-Instruct",
     ("qwen2", 2048, 11008, 36, 16, 2, 128, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen2.5-7B",
     ("qwen2", 3584, 18944, 28, 28, 4, 128, 152_064, 131_072, False, None, "bfloat16")),
    ("Qwen/Qwen2.5-7B-Instruct",
     ("qwen2", 3584, 18944, 28, 28, 4, 128, 152_064, 32_768, False, None, "bfloat16")),
    ("Qwen/Qwen3-0.6B",
     ("qwen3", 1024, 3072, 28, 16, 8, 128, 151_936, 40_960, True, None, "bfloat16")),
    ("Qwen/Qwen3-0.6B-Base",
     ("qwen3", 1024, 3072, 28, 16, 8, 128, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen3-1.7B",
     ("qwen3", 2048, 6144, 28, 16, 8, 128, 151_936, 40_960, True, None, "bfloat16")),
    ("Qwen/Qwen3-1.7B-Base",
     ("qwen3", 2048, 6144, 28, 16, 8, 128, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen3-4B",
     ("qwen3", 2560, 9728, 36, 32, 8, 128, 151_936, 40_960, True, None, "bfloat16")),
    ("Qwen/Qwen3-4B-Base",
     ("qwen3", 2560, 9728, 36, 32, 8, 128, 151_936, 32_768, True, None, "bfloat16")),
    ("Qwen/Qwen3-8B",
     ("qwen3", 4096, 12288, 36, 32, 8, 128, 151_936, 40_960, False, None, "bfloat16")),
    ("Qwen/Qwen3-8B-Base",
     ("qwen3", 4096, 12288, 36, 32, 8, 128, 151_936, 32_768, False, None, "bfloat16")),
    ("HuggingFaceTB/SmolLM2-135M HuggingFaceTB/SmolLM2-135M-Instruct",
     ("llama", 576, 1536, 30, 9, 3, 64, 49_152, 8192, True, None, "bfloat16")),
    ("HuggingFaceTB/SmolLM2-360M HuggingFaceTB/SmolLM2-360M-Instruct",
     ("llama", 960, 2560, 32, 15, 5, 64, 49_152, 8192, True, None, "bfloat16")),
    ("HuggingFaceTB/SmolLM2-1.7B HuggingFaceTB/SmolLM2-1.7B-Instruct",
     ("llama", 2048, 8192, 24, 32, 32, 64, 49_152, 8192, True, None, "bfloat16")),
)  # fmt: skip


def _config(row: tuple[Any, ...]) -> Mapping[str, Any]:
    config = dict(zip(_KEYS, row, strict=True))
    if config["model_type"] == "gemma3":  # its text part lies one level down
        top = {key: config[key] for key in ("model_type", "dtype", "tie_word_embeddings")}
        return {
            **top,
            "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": {**config, "model_type": "gemma3_text"},
        }
    return config


CONFIGS: Mapping[str, Mapping[str, Any]] = {
    name: _config(row) for names, row in _MODELS for name in names.split()
}
"""By Hub id: those values of its config.json that make its shape."""


_LARGEST = 100_000_000
"""No size of a model comes near it; with it, whatever is computed from sizes stays small."""
_MOST_BYTES = 10_000_000
_REMEDY = "compare it with the config.json that the model was published with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A config.json or a part of it.

    Attributes:
        values: its keys and values, unchecked.
        where: the file, for error messages.
    """

    values: Mapping[str, Any]
    where: str

    def size(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return the whole number under `key`, at least `least`; null is `default` too.

        Raises ModelError if it is something else, or missing where there is no default.
        """
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise ModelError(f"{self.where} has no {key}", _REMEDY)
        if type(value) is not int or not least <= value <= _LARGEST:
            raise self.wrong(key, f"a whole number from {least} to {_LARGEST:,}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return the boolean under `key`; `default` if it is missing or null."""
        value = self.values.get(key)
        if value is not None and type(value) is not bool:
            raise self.wrong(key, "true or false")
        return default if value is None else value

    def cap(self, key: str, default: float | None) -> float | None:
        """Return the positive number under `key`; null is None: there is no cap."""
        value = self.values.get(key, default)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 < value <= _LARGEST:
            raise self.wrong(key, "a positive number or null")
        return float(value)

    def word(self, key: str, allowed: tuple[str, ...] = ()) -> str | None:
        """Return the text under `key`, one of `allowed` if there are any; None if left out."""
        value = self.values.get(key)
        if value is not None and (type(value) is not str or (allowed and value not in allowed)):
            raise self.wrong(key, " or ".join(allowed) or "a text")
        return value

    def words(self, key: str) -> list[str] | None:
        """Return the list of texts under `key`; None if left out."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not list or not all(type(word) is str for word in value):
            raise self.wrong(key, "a list of texts")
        return value

    def part(self, key: str) -> "Config":
        """Return the object under `key`."""
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object")
        return Config(values=value, where=f"{self.where}, {key}")

    def wrong(self, key: str, wanted: str) -> ModelError:
        """Return the error for the value under `key`, which should be `wanted`."""
        value = short(self.values.get(key))
        return ModelError(f"{self.where}: {key} is {value}, it must be {wanted}", _REMEDY)


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in the JSON file `path`. Raises ModelError if there is none."""
    try:
        if not path.is_file():
            raise ModelError(
                f"there is no {path}", "add the config.json that the model was published with"
            )
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path} is larger than {_MOST_BYTES:,} bytes", _REMEDY)
        values = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}", _REMEDY) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds {short(values)}, it must hold an object", _REMEDY)
    return values


def heads(text: Config, kind: ModelFamily, hidden: int) -> tuple[int, int, int]:
    """Return query heads, key and value heads, and the width of one head."""
    queries = text.size("num_attention_heads", kind.heads)
    # null is not the default here: it asks for what follows from the other sizes
    asked = text.values.get("num_key_value_heads", kind.kv_heads)
    keys = queries if asked is None else text.size("num_key_value_heads", kind.kv_heads)
    if queries % keys:
        raise ModelError(
            f"{text.where}: num_attention_heads is {queries}, which is not a multiple of "
            f"num_key_value_heads, {keys}",
            _REMEDY,
        )
    if text.values.get("head_dim", kind.head_dim) is not None:
        return queries, keys, text.size("head_dim", kind.head_dim)
    if hidden % queries:
        raise ModelError(
            f"{text.where}: hidden_size is {hidden}, which is not a multiple of "
            f"num_attention_heads, {queries}, and there is no head_dim",
            _REMEDY,
        )
    return queries, keys, hidden // queries


def sliding(text: Config, kind: ModelFamily, layers: int) -> tuple[int, int | None]:
    """Return how many layers see only a window, and the window; (0, None) if none does."""
    unused = kind.slides == "late" and not text.flag("use_sliding_window", False)
    if kind.slides == "none" or unused or text.values.get("sliding_window", kind.window) is None:
        return 0, None
    window = text.size("sliding_window", kind.window)
    types = text.words("layer_types") if kind.slides != "all" else None
    if types is not None:
        if len(types) != layers:
            raise text.wrong("layer_types", f"a list of num_hidden_layers, {layers}, texts")
        count = types.count("sliding_attention")
    elif kind.slides == "other":
        count = (layers + 1) // 2
    elif kind.slides == "few":
        count = layers - layers // text.size("sliding_window_pattern", 6)
    elif kind.slides == "late":
        count = max(0, layers - text.size("max_window_layers", 28, least=0))
    else:
        count = layers
    return (count, window) if count else (0, None)


def stored(top: Config, text: Config) -> str:
    """Return the dtype of the checkpoint; float32 where neither part of the config says."""
    for config in (top, text):
        for key in ("dtype", "torch_dtype"):  # the second is how transformers 4 wrote it
            word = config.word(key, ("bfloat16", "float16", "float32"))
            if word:
                return word
    return "float32"
