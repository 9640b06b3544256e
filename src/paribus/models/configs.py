"""The values of a config.json, each checked before anything is computed from it.

config = Config(values=read_config(folder / "config.json"), where="my-model/config.json")
config.size("hidden_size")             # 640
config.size("head_dim", 256)           # 256 where the file leaves it out
config.size("num_hidden_layers")       # ModelError: my-model/config.json: num_hidden_layers is -2 …
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from paribus.errors import ModelError
from paribus.files import read_json
from paribus.models.known import ModelFamily

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
        """Return true or false as it stands under `key`; null is `default` too."""
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
        found = short(self.values.get(key))
        return ModelError(f"{self.where}: {key} is {found}, it must be {wanted}", _REMEDY)


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in the JSON file `path`. Raises ModelError if there is none."""
    try:
        if not path.is_file():
            raise ModelError(
                f"there is no {path}", "a model folder needs the config.json it was published with"
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
            f"{text.where}: num_attention_heads is {queries}, which is no multiple of "
            f"num_key_value_heads, {keys}",
            _REMEDY,
        )
    if text.values.get("head_dim", kind.head_dim) is not None:
        return queries, keys, text.size("head_dim", kind.head_dim)
    if hidden % queries:
        raise ModelError(
            f"{text.where}: hidden_size is {hidden}, which is no multiple of "
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
