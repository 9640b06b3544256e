"""The shape of a model from its config alone: no weights, no torch.

    shape_of("google/gemma-2b-it", None).parameters        # 2506172416

A config is looked for in the model's folder, in the built-in table for the packaged model, in the
Hub's local cache, in the table again, and last on the Hub itself.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from paribus.errors import ConfigError, ModelError
from paribus.models import packaged
from paribus.models.configs import (
    CONFIGS,
    MODEL_FAMILIES,
    Config,
    heads,
    read_config,
    sliding,
    stored,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a decoder with gated MLPs, RMS norms and rotary attention.

    Attributes:
        model_type: as in config.json: `gemma`, `gemma2`, `gemma3_text`, `llama`, `mistral`,
            `qwen2`, `qwen3`.
        architecture: the class that the checkpoint names: `Gemma3ForCausalLM`. Where it holds more
            than a decoder of text, `Gemma3ForConditionalGeneration, text part`: only the decoder
            and its head are counted here.
        vocab: rows of the embedding.
        hidden: width of the residual stream.
        intermediate: width inside the MLP.
        layers: decoder layers.
        heads: query heads.
        kv_heads: key and value heads.
        head_dim: width of one head.
        tied: whether the output head is the embedding.
        sliding_layers: how many layers see only `sliding_window` tokens.
        sliding_window: that window; None where there is none.
        context: most positions the model was built for.
        norms: RMS norms of one decoder layer over the residual stream (2, or Gemma 2's and 3's 4).
        qk_norm: whether queries and keys are normed.
        qkv_bias: whether the query, key and value projections have biases.
        softcap: cap on the final logits; None where there is none.
        stored: dtype of the checkpoint: `bfloat16`, `float16`, `float32`.
        origin: where the shape came from: `folder`, `packaged`, `cache`, `table` or `hub`.
        output_bias: whether the projection out of attention has a bias.
        mlp_bias: whether the MLP's three projections have biases.
    """

    model_type: str
    architecture: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    sliding_layers: int
    sliding_window: int | None
    context: int
    norms: int
    qk_norm: bool
    qkv_bias: bool
    softcap: float | None
    stored: str
    origin: str
    output_bias: bool = False
    mlp_bias: bool = False

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Width in and out of the linear layers that every decoder layer has, by name."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once, as the embedding."""
        return (
            self.embedding_parameters
            + self.head_parameters
            + self.linear_parameters
            + self.other_parameters
        )

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, which a tied head shares."""
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """Weights of an output head of its own; 0 where it is tied."""
        return 0 if self.tied else self.vocab * self.hidden

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all decoder layers, without biases.

        These are what autocast casts and what 4-bit quantisation stores in 4 bits.
        """
        return self.layers * sum(wide * out for wide, out in self.linears.values())

    @property
    def other_parameters(self) -> int:
        """Norms and biases."""
        out = {name: width for name, (_, width) in self.linears.items()}
        layer = self.norms * self.hidden + self.qk_norm * 2 * self.head_dim
        layer += self.qkv_bias * (out["q_proj"] + out["k_proj"] + out["v_proj"])
        layer += self.output_bias * out["o_proj"]
        layer += self.mlp_bias * (out["gate_proj"] + out["up_proj"] + out["down_proj"])
        return self.layers * layer + self.hidden  # the last norm

    def adapter_sizes(
        self, r: int, targets: Collection[str], *, dora: bool = False
    ) -> list[tuple[int, ...]]:
        """Return the sizes of one decoder layer's LoRA weights, of rank `r` on the `targets`.

        Each target has A [r, in] and B [out, r], with `dora` the lengths of its rows [out]. Raises
        ConfigError for a name that no decoder layer has.
        """
        refuse_unknown_targets(targets, self.linears)
        sizes: list[tuple[int, ...]] = []
        for name in sorted(set(targets)):
            wide, out = self.linears[name]
            sizes += [(r, wide), (out, r), *[(out,)] * dora]
        return sizes

    @property
    def modules(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Sizes of each weight of each module that has some, by the module's name."""
        modules: dict[str, tuple[tuple[int, ...], ...]] = {}
        for index in range(self.layers):
            for name, weights in self._layer_modules.items():
                modules[f"model.layers.{index}.{name}"] = weights
        modules["model.embed_tokens"] = modules["lm_head"] = ((self.vocab, self.hidden),)
        modules["model.norm"] = ((self.hidden,),)
        return modules

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Sizes of every weight by name; a tied head's under its own name too."""
        return {
            f"{module}.{kind}": size
            for module, sizes in self.modules.items()
            for kind, size in zip(("weight", "bias"), sizes, strict=False)
        }

    @property
    def _layer_modules(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Sizes of the weights of each module of a decoder layer."""
        biased = {"q_proj", "k_proj", "v_proj"} if self.qkv_bias else set()
        biased |= {"o_proj"} if self.output_bias else set()
        biased |= {"gate_proj", "up_proj", "down_proj"} if self.mlp_bias else set()
        modules: dict[str, tuple[tuple[int, ...], ...]] = {}
        for name, (wide, out) in self.linears.items():
            part = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            bias = ((out,),) if name in biased else ()
            modules[f"{part}.{name}"] = ((out, wide), *bias)
        for name in _LAYER_NORMS[: self.norms]:
            modules[name] = ((self.hidden,),)
        for name in ("q_norm", "k_norm") if self.qk_norm else ():
            modules[f"self_attn.{name}"] = ((self.head_dim,),)
        return modules

    def kv_bytes_per_token(self, bytes_per_value: int) -> int:
        """Return the bytes of the keys and values of one token in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value


_LAYER_NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)  # fmt: skip
"""Of these a decoder layer has the first two, or all."""


def saved_modules(
    ends: Collection[str],
    modules: Collection[str],
    targets: Collection[str],
    packed: Collection[str] = (),
) -> tuple[str, ...]:
    """Return those of `modules`, which have weights of their own, whose names end like `ends`.

    As peft matches `modules_to_save`. Raises ConfigError if one matches none, a layer that
    `targets` gives an adapter, or one of those that are `packed` in 4 bits.
    """
    for end in ends:
        matched = [name for name in modules if name.endswith(end)]
        if not matched:
            kinds = sorted({name.rpartition(".")[2] for name in modules})
            raise ConfigError(
                f"lora.modules_to_save: {end} ends the name of no module with weights of its own",
                f"choose from {', '.join(kinds)}",
            )
        adapted = sorted({name.rpartition(".")[2] for name in matched} & set(targets))
        if adapted:
            raise ConfigError(
                f"lora.modules_to_save: {end} is to be trained whole, and lora.targets gives "
                f"{', '.join(adapted)} an adapter",
                "take it out of one of the two",
            )
        if frozen := set(matched).intersection(packed):
            raise ConfigError(
                f"lora.modules_to_save: {end} is to be trained, and {min(frozen)} is in 4 bits "
                "(quantization='nf4')",
                "take it out, or set quantization: null",
            )
    return tuple(name for name in modules if name.endswith(tuple(ends)))


def matching_weights(patterns: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """Return those of `names` in which one of the `patterns`, regular expressions, is found.

    Raises ConfigError for a pattern that is found in none.
    """
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            parts = {part for name in names for part in name.split(".")}
            plain = re.sub(r"[^\w.]", "", pattern).strip(".")
            near = get_close_matches(plain, sorted({*parts, *names}), n=3, cutoff=0.0)
            raise ConfigError(
                f"training.train_only: {pattern} is found in the name of no weight",
                f"nearest: {', '.join(near)}",
            )
    return tuple(name for name in names if any(re.search(own, name) for own in patterns))


def refuse_unknown_layers(numbers: Collection[int] | None, layers: int) -> None:
    """Raise ConfigError if one of `numbers` is not of a decoder layer, counted from 0."""
    if numbers is None:
        return
    if not numbers or max(numbers) >= layers:
        raise ConfigError(
            f"lora.layers_to_transform={list(numbers)} must name decoder layers, 0 to {layers - 1}",
            "name some of those, or set lora.layers_to_transform=null",
        )


def refuse_unknown_targets(targets: Collection[str], linears: Collection[str]) -> None:
    """Raise ConfigError if `targets` has a name that is not of `linears`, the decoder's layers."""
    unknown = sorted(set(targets) - set(linears))
    if unknown:
        raise ConfigError(
            f"lora.targets names no linear layer of this model's decoder: {', '.join(unknown)}",
            f"choose from {', '.join(linears)}" if linears else "set method=full",
        )


def refuse_rank(rank: int, init: str, widths: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ConfigError if an adapter cannot start from so many directions of a layer's weights.

    `widths` are the layers' sizes, by name; the narrowest is named.
    """
    name, narrow = min(((name, min(sizes)) for name, sizes in widths.items()), key=lambda w: w[1])
    if rank > narrow:
        raise ConfigError(
            f"lora.init_lora_weights={init!r} starts from {rank} directions (lora.r), and {name} "
            f"has {narrow}",
            f"set lora.r={narrow} or less, or lora.init_lora_weights: null",
        )


def shape_of(model: str, revision: str | None) -> Shape:
    """Return the shape of `model`: a packaged name, an absolute folder or a Hub id.

    Raises ModelError if no config can be had, or if it is malformed or of an unknown kind.
    """
    if Path(model).is_absolute():
        return _read_file(Path(model) / "config.json", "folder")
    if model == packaged.NAME:
        return read_shape(CONFIGS[f"google/{packaged.NAME}"], "packaged")
    cached = _cached(model, revision)
    if cached:
        return _read_file(cached, "cache")
    if model in CONFIGS:
        return read_shape(CONFIGS[model], "table")
    return _read_file(_downloaded(model, revision), "hub")


def read_shape(config: Mapping[str, Any], origin: str, where: str = "config.json") -> Shape:
    """Return the shape that the content of a config.json describes.

    What it leaves out is as in transformers' config classes, but hidden_size, intermediate_size and
    num_hidden_layers must be there. `origin` goes into the shape, `where` into errors. Raises
    ModelError for an unknown `model_type` and for a value that is missing or impossible.
    """
    top = Config(values=config, where=where)
    named = top.word("model_type")
    whole = named != "gemma3"
    text = top if whole else top.part("text_config")
    model_type = named if whole else "gemma3_text"
    kind = MODEL_FAMILIES.get(model_type or "")
    if model_type is None or kind is None:
        raise ModelError(
            f"{where}: a model of type {named!r} has no known shape; known are "
            f"{', '.join(sorted([*MODEL_FAMILIES, 'gemma3']))}",
            "set training.micro_batch, training.checkpointing and evaluation.batch_size instead of "
            "auto: a run then needs no shape; its memory and time cannot be planned",
        )
    architecture = (top.words("architectures") or [kind.architecture])[0]
    hidden, layers = text.size("hidden_size"), text.size("num_hidden_layers")
    queries, keys, head_dim = heads(text, kind, hidden)
    sliding_layers, sliding_window = sliding(text, kind, layers)
    biased = kind.biases in ("asked", "llama") and text.flag("attention_bias", False)
    return Shape(
        model_type=model_type,
        architecture=architecture if whole else f"{architecture}, text part",
        vocab=text.size("vocab_size", kind.vocab),
        hidden=hidden,
        intermediate=text.size("intermediate_size"),
        layers=layers,
        heads=queries,
        kv_heads=keys,
        head_dim=head_dim,
        tied=top.flag("tie_word_embeddings", kind.tied),
        sliding_layers=sliding_layers,
        sliding_window=sliding_window,
        context=text.size("max_position_embeddings", kind.context),
        norms=kind.norms,
        qk_norm=kind.qk_norm,
        qkv_bias=biased or kind.biases == "qkv",
        output_bias=biased,
        mlp_bias=kind.biases == "llama" and text.flag("mlp_bias", False),
        softcap=text.cap("final_logit_softcapping", kind.softcap),
        stored=stored(top, text),
        origin=origin,
    )


def _read_file(path: Path, origin: str) -> Shape:
    return read_shape(read_config(path), origin, str(path))


def _cached(model: str, revision: str | None) -> Path | None:
    """Return the config in the Hub's local cache; without a revision, that of any is good."""
    from huggingface_hub import constants, errors, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
    except errors.HFValidationError as error:
        raise _unknown(model, "and it is no Hub id") from error
    if isinstance(cached, str):
        return Path(cached)
    if revision:
        return None
    folder = Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "snapshots"
    return max(folder.glob("*/config.json"), default=None)


def _downloaded(model: str, revision: str | None) -> Path:
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(model, "config.json", revision=revision))
    except errors.HfHubHTTPError as error:
        answer = f"and the Hub answers HTTP {error.response.status_code}"
        raise _unknown(model, answer) from error
    except (errors.EntryNotFoundError, OSError) as error:
        raise _unknown(model, "and the Hub is out of reach") from error


def _unknown(model: str, why: str) -> ModelError:
    names = {name.lower(): name for name in (*CONFIGS, packaged.NAME)}
    near = [names[name] for name in get_close_matches(model.lower(), names, n=5, cutoff=0.0)]
    return ModelError(
        f"the shape of {model} is not known here: it is neither in a local cache nor built in, "
        f"{why}",
        "connect once (after `hf auth login` if it is gated or private), give a folder that holds "
        f"its config.json, or take a model that is built in, such as {', '.join(near)}",
    )
