"""What a model's folder may not ask for: code to run, pickles, files elsewhere, another model.

    refuse_unsafe(Path("my-model"))       # ModelError if following its files would do any of it
    refuse_cut(Path("my-model"))          # ModelError if weights are cut short

transformers follows what is written in these files: an index may name a pickle or a path, a config
a kernel of the Hub that is fetched and run, and an adapter beside the weights replaces them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paribus.errors import ModelError
from paribus.models.configs import read_config

_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation",
            "_experts_implementation")  # fmt: skip
_PUBLISHED = "use the files that the model was published with"


def refuse_unsafe(folder: Path) -> None:
    """Raise ModelError if what lies in `folder` leads anywhere but to its safetensors."""
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), which would be loaded in place of "
            "the model beside it",
            "give the base model, or merge the adapter into it and save the whole",
        )
    for index in sorted(folder.glob("*.safetensors.index.json")):
        _refuse_parts(index)
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        if file.exists():
            _refuse_kernels(file)


def refuse_remote_code(folder: Path) -> None:
    """Raise ModelError if the model in `folder` can only be built by code that it brings along."""
    from transformers import CONFIG_MAPPING

    config = read_config(folder / "config.json")
    kind = config.get("model_type")
    if "auto_map" in config and (not isinstance(kind, str) or kind not in CONFIG_MAPPING):
        raise ModelError(
            f"the model in {folder} needs Python code of its own (auto_map in config.json, "
            f"model_type {kind!r}), which is never run",
            "choose a model that transformers knows by itself",
        )


def refuse_cut(folder: Path) -> None:
    """Raise ModelError if a *.safetensors in `folder` is not whole, by its header; none is read."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(each for each in folder.glob("*.safetensors") if not each.is_dir()):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file} is cut short, or not what its header says: {error}",
                "copy or fetch the file again; it is not whole",
            ) from error


def _refuse_parts(index: Path) -> None:
    """Raise ModelError if `index` names anything but safetensors that lie beside it."""
    parts = read_config(index).get("weight_map")
    names = set(map(str, parts.values())) if isinstance(parts, Mapping) else {"no weight_map"}
    for name in sorted(names):
        plain = Path(name).name == name and name.endswith(".safetensors")
        if not plain or not (index.parent / name).is_file():
            raise ModelError(
                f"{index} names {name!r}; every part must be a *.safetensors file beside it",
                f"{_PUBLISHED}; pickled weights (*.bin, *.pt) are not read",
            )


def _refuse_kernels(file: Path) -> None:
    for key, value in _leaves(read_config(file)):
        if key in _KERNELS and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"{file}: {key} is {value!r}, code that would be fetched from the Hub and run",
                f"remove {key}: paribus has an attention of its own",
            )


def _leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the innermost key and value of whatever `config` holds."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            # {"attn_implementation": {"text_config": "owner/kernel"}} is for one part of a model.
            yield from _leaves(value, key if key in _KERNELS else name)
    elif isinstance(config, list):
        for value in config:
            yield from _leaves(value, key)
    else:
        yield key, config
