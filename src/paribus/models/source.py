"""Where a model's files come from: the packaged model, a folder, or the Hub. No torch.

    find_model("gemma-3-270m", None)         # from the PyPI package, dequantised once
    find_model("./my-model", None)           # a folder with config.json and *.safetensors
    find_model("google/gemma-2b-it", None)   # from the Hub, or its local cache when offline

transformers follows what these files say: an index may name a pickle or a path, a config a kernel
on the Hub that is fetched and run, and an adapter beside the weights replaces them. So a folder
is refused if following its files would run code, read a pickle or leave the folder:

    refuse_unsafe(Path("my-model"))       # ModelError if its files ask for any of it
    refuse_cut(Path("my-model"))          # ModelError if weights are truncated
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from paribus import hub
from paribus.errors import ModelError, NotHere
from paribus.files import UNREADABLE, sha256_of_file, sha256_of_json
from paribus.models import packaged
from paribus.models.configs import Config, read_config
from paribus.models.packaged import check_ids
from paribus.models.quiet import quiet_libraries

_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation",
            "_experts_implementation")  # fmt: skip
_PUBLISHED = "use the files that the model was published with"


def refuse_unsafe(folder: Path) -> None:
    """Raise ModelError if a file in `folder` refers to anything but its safetensors."""
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
            f"the model in {folder} needs its own Python code (auto_map in config.json, "
            f"model_type {kind!r}), which is never run",
            "choose a model that transformers knows by itself",
        )


def refuse_cut(folder: Path) -> None:
    """Raise ModelError if a *.safetensors in `folder` is not whole, by its header; none is read."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(path for path in folder.glob("*.safetensors") if not path.is_dir()):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file} is cut short, or not what its header says: {error}",
                "copy or download the complete file again",
            ) from error


def _refuse_parts(index: Path) -> None:
    """Raise ModelError if `index` names anything but safetensors in its folder."""
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
                f"remove {key}: paribus has its own attention",
            )


def _leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every innermost key and value of `config`."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            # {"attn_implementation": {"text_config": "owner/kernel"}} is for one part of a model.
            yield from _leaves(value, key if key in _KERNELS else name)
    elif isinstance(config, list):
        for value in config:
            yield from _leaves(value, key)
    else:
        yield key, config


_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken")
_FILES = ["*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A folder of weights and tokenizer, and what identifies them.

    Attributes:
        path: the folder.
        identity: a content hash or commit; two sources with equal identity are the same weights.
        note: what a reader of the report must know of these weights, or "".
        packaged: whether it is the packaged model, of which facts are known.
    """

    path: Path
    identity: str
    note: str = ""
    packaged: bool = False

    @property
    def commit(self) -> str | None:
        """Commit of the files on the Hub; None if they did not come from there."""
        return self.identity.rpartition("@")[2] if self.identity.startswith("hub:") else None


def find_model(model: str, revision: str | None) -> ModelSource:
    """Return the local folder of `model`; fetch or unpack it first if needed.

    Raises ModelError if it is missing or damaged, NotHere if the Hub does not give it.
    """
    if model == packaged.NAME:
        path, sha256 = packaged.unpacked(cache_folder() / "models")
        identity = f"gguf-sha256:{sha256}"
        return ModelSource(path=path, identity=identity, note=packaged.NOTE, packaged=True)
    return _folder(Path(model)) if Path(model).is_absolute() else _hub(model, revision)


def load_tokenizer(source: ModelSource) -> Any:
    """Return the tokenizer in the source's folder.

    Raises ModelError if its files are missing, damaged or unsafe, or if the libraries make another
    tokenizer of the packaged model than the one it was tested with.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoTokenizer

    quiet_libraries()
    config = source.path / "config.json"
    refuse_unsafe(source.path)
    refuse_remote_code(source.path)  # transformers reads it too, and blames the tokenizer
    remedy = "put tokenizer.json and tokenizer_config.json beside the weights"
    if not any(list(source.path.glob(pattern)) for pattern in _VOCABULARIES):
        # transformers would make one up from config.json, with nothing but special tokens.
        raise ModelError(f"{source.path} holds no tokenizer", remedy)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source.path, trust_remote_code=False, local_files_only=True
        )
    except StrictDataclassError as error:
        raise ModelError(
            f"{config} cannot be used: {' '.join(str(error).split())}",
            "compare it with the config.json that the model was published with",
        ) from error
    except UNREADABLE as error:
        raise ModelError(
            f"{source.path} holds no tokenizer that can be read: {error}", remedy
        ) from error
    if source.packaged:
        check_ids(tokenizer)
    return tokenizer


def context_length(source: ModelSource) -> int | None:
    """Return how many tokens the model was built for, or None if its config does not say.

    Raises ModelError if the config is damaged.
    """
    return _size(source, "max_position_embeddings")


def vocabulary(source: ModelSource) -> int | None:
    """Return how many rows the model's embedding has, or None if its config does not say.

    Raises ModelError if the config is damaged.
    """
    return _size(source, "vocab_size")


def _size(source: ModelSource, key: str) -> int | None:
    path = source.path / "config.json"
    config = Config(values=read_config(path), where=str(path))
    text = config.part("text_config") if config.values.get("text_config") else config
    return text.size(key) if text.values.get(key) is not None else None


def cache_folder() -> Path:
    """Where paribus keeps what it can remake: `$PARIBUS_CACHE`, or `~/.cache/paribus`."""
    return Path(os.environ.get("PARIBUS_CACHE") or Path.home() / ".cache" / "paribus")


def _folder(path: Path) -> ModelSource:
    if not path.is_dir():
        raise ModelError(f"there is no model folder {path}", "check the path given as `model`")
    _refuse_no_files(path)
    weights, *others = (
        [file for file in sorted(path.glob(kind)) if file.is_file()]
        for kind in ("*.safetensors", "*.json", "*.jinja")
    )
    for needed, is_there in {"config.json": (path / "config.json").is_file(),
                          "*.safetensors": bool(weights)}.items():  # fmt: skip
        if not is_there:
            raise ModelError(
                f"{path} holds no {needed}",
                "give a folder with config.json, *.safetensors and the tokenizer's files; pickled "
                "weights (*.bin, *.pt) are not read",
            )
    refuse_cut(path)
    hashes = {file.name: sha256_of_file(file) for file in (*weights, *chain(*others))}
    return ModelSource(path=path, identity=f"sha256:{sha256_of_json(hashes)}")


def _refuse_no_files(folder: Path) -> None:
    """Raise ModelError if opening a file in `folder` would block forever."""
    for path in (*folder.iterdir(), *folder.glob("additional_chat_templates/*")):
        if not (path.is_file() or path.is_dir()):
            raise ModelError(
                f"{path} is neither a file nor a folder",
                "put the file itself there, as the model was published",
            )


def _hub(model: str, revision: str | None) -> ModelSource:
    from huggingface_hub import errors, snapshot_download

    hub.settle()
    try:
        path = Path(snapshot_download(model, revision=revision, allow_patterns=_FILES))
    except errors.HFValidationError as error:
        raise ModelError(
            f"{model!r} is neither {packaged.NAME!r}, a folder, nor a Hub id",
            "write a folder with a leading ./ or a Hub id as owner/name",
        ) from error
    except errors.GatedRepoError as error:
        raise NotHere(
            f"{model} is gated and this account may not read it (HTTP 403)",
            f"accept its licence on https://huggingface.co/{model}, then `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{model} has no revision {revision!r}",
            "set `revision` to a branch, a tag or a commit of it",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NotHere(
            f"the Hub knows no model {model}, or this account may not see it",
            "check the spelling; for a private model run `hf auth login`",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise NotHere(
            f"{model} is not in the local cache and the Hub is out of reach",
            f"connect and run again, or fetch it elsewhere with `hf download {model}` and give "
            f"the folder; without a network use `model={packaged.NAME}`",
        ) from error
    if not list(path.glob("*.safetensors")):
        raise ModelError(
            f"{model} has no safetensors weights",
            "choose a model that has some: pickled weights (*.bin, *.pt) are not read",
        )
    refuse_cut(path)
    return ModelSource(path=path, identity=f"hub:{model}@{path.name}")
