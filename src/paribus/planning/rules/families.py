"""Rules about model families: which of them paribus trains and decodes as their makers do.

    violation: PB032 gpt2 has no down_proj, gate_proj, k_proj, …; it has none

Made by running 50 families of transformers 5.23.0 through paribus, as two random layers each:
greedy texts against the model's own forward pass without a cache, the loss against the model's own,
gradients of full SFT and LoRA, saving and loading. What agreed is in `_TRIED`. Weights that are
already quantised, or that need code of their own, are refused by `models/load`.
"""

from typing import Final

from paribus.planning.rules.card import Facts, Rule, Severity

_TRIED: Final = frozenset((
    "apertus", "arcee", "exaone4", "gemma", "gemma2", "gemma3", "gemma3_text",
    "gemma3n_text", "gemma4_text", "glm", "glm4", "gpt2", "gpt_neox", "helium",
    "hunyuan_v1_dense", "llama", "ministral", "ministral3", "mistral", "mixtral", "nanochat",
    "olmo2", "olmo3", "olmoe", "opt", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
    "seed_oss", "smollm3", "starcoder2",
))  # fmt: skip
_UNDECODABLE: Final = frozenset((
    "bloom", "falcon_h1", "lfm2", "llama4_text", "mamba", "qwen3_next", "recurrent_gemma", "t5",
))  # fmt: skip
_OTHER_HEADS: Final = {
    **dict.fromkeys(("cohere", "cohere2", "granite", "granitemoe"), "scales its logits"),
    **dict.fromkeys(("gptj", "phi"), "adds a bias to its logits"),
}
_ATTENTION: Final = ("k_proj", "o_proj", "q_proj", "v_proj")
_FUSED: Final = ("dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value")
_LINEAR: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("gpt_oss", "mixtral", "olmoe", "qwen3_moe"), _ATTENTION),
    **dict.fromkeys(("apertus", "arcee"), (*_ATTENTION, "down_proj", "up_proj")),
    **dict.fromkeys(("glm", "glm4"), (*_ATTENTION, "down_proj", "gate_up_proj")),
    **dict.fromkeys(("falcon", "gpt_neox"), _FUSED),
    "gpt2": (),  # its layers are transformers' Conv1D, which models/load gives no adapter
    "nanochat": (*_ATTENTION, "fc1", "fc2"),
    "opt": ("fc1", "fc2", "k_proj", "out_proj", "q_proj", "v_proj"),
    "phi3": ("down_proj", "gate_up_proj", "o_proj", "qkv_proj"),
    "starcoder2": (*_ATTENTION, "c_fc", "c_proj"),
}
_HEADS: Final = frozenset(("lm_head", "embed_out"))
_CONTAMINATED: Final = frozenset(("mistral", "mixtral", "phi", "phi3"))
_TESTED: Final = {"transformers": ">=5.23,<5.24"}


def _family(facts: Facts) -> str:
    """Return the model's type, or "" if it is not known here."""
    if facts.tokens is not None and facts.tokens.model_type:
        return facts.tokens.model_type
    return facts.shape.model_type if facts.shape else ""


def _undecodable(facts: Facts) -> str | None:
    family = _family(facts)
    return f"{facts.config.model} is of type {family}" if family in _UNDECODABLE else None


def _other_head(facts: Facts) -> str | None:
    does = _OTHER_HEADS.get(_family(facts))
    return f"{facts.config.model} is of type {_family(facts)}, which {does}" if does else None


def _no_such_layers(facts: Facts) -> str | None:
    there = _LINEAR.get(_family(facts))
    if facts.config.method != "lora" or there is None:
        return None
    missing = sorted(set(facts.config.lora.target_names(there)) - {*there, *_HEADS})
    if not missing:
        return None
    return (
        f"{_family(facts)} has no {', '.join(missing)}; it has {', '.join(sorted(there)) or 'none'}"
    )


def _untried(facts: Facts) -> str | None:
    family = _family(facts)
    if not family or family in _TRIED | _UNDECODABLE | _OTHER_HEADS.keys():
        return None
    return f"{facts.config.model} is of type {family}"


def _with_images(facts: Facts) -> str | None:
    if facts.config.method == "none" or facts.shape is None:
        return None
    if "ForConditionalGeneration" not in facts.shape.architecture:
        return None
    return f"{facts.config.model} is a {facts.shape.architecture.partition(',')[0]}"


def _known_problems(facts: Facts) -> str | None:
    task, family = facts.config.task, _family(facts)
    if not task.preset or task.generated or family not in _CONTAMINATED:
        return None  # of rows of one's own nobody knows
    return f"{facts.config.model} ({family}) is tested on {task.task}"


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB030",
        title="A model family that paribus cannot decode",
        severity=Severity.ERROR,
        what=(
            "The run fails at its first test batch, after all of its training; an encoder-decoder "
            "fails as it is loaded."
        ),
        why=(
            "Decoding keeps keys and values of all tokens and makes its own masks. Recurrent "
            "layers, chunked attention, ALiBi and encoder-decoders need something else."
        ),
        evidence=(
            "re-run here with transformers 5.23.0: KeyError 'linear_attention' (mamba, qwen3_next, "
            "recurrent_gemma), 'hybrid' (falcon_h1), 'conv' (lfm2), 'chunked_attention' (llama4); "
            "ValueError (bloom); t5 is not a causal model and is not loaded",
        ),
        instead="Use a decoder with plain attention: Gemma, Llama, Qwen 2.5 or 3, SmolLM, OLMo 2.",
        versions=_TESTED,
        check=_undecodable,
    ),
    Rule(
        id="PB031",
        title="A model family whose logits paribus computes differently",
        severity=Severity.ERROR,
        what=(
            "The loss is computed from other logits than the model's own: training pulls it "
            "somewhere else, and held-out likelihoods are wrong. No error is raised."
        ),
        why=(
            "The loss multiplies hidden states with the output matrix and knows a soft-cap; a "
            "factor on the logits, or a bias, is left out."
        ),
        evidence=(
            "re-run here with transformers 5.23.0, the model's own loss against paribus's: cohere "
            "5.58 and 5.88; granite with logits_scaling 8, 5.57 and 5.68; phi with a bias, 5.95 "
            "and 5.77 (gptj has that bias too). In 41 other families the two agree to five digits",
        ),
        instead="Use another family: Gemma, Llama, Qwen 2.5 or 3, SmolLM, OLMo 2.",
        versions=_TESTED,
        check=_other_head,
    ),
    Rule(
        id="PB032",
        title="lora.targets names layers that this model family does not have",
        severity=Severity.ERROR,
        what="The run fails once its weights are loaded.",
        why=(
            "The default names are those of Llama, Gemma and Qwen. Other families fuse layers, "
            "rename them, or keep experts in parameters that are no linear layers."
        ),
        evidence=("re-run here with transformers 5.23.0 and peft 0.21.2, on every family listed",),
        instead="Name the layers that it has in lora.targets; where it has none, use method=full.",
        versions=_TESTED,
        check=_no_such_layers,
    ),
    Rule(
        id="PB033",
        title="A model family that paribus was never tried with",
        severity=Severity.WARNING,
        what="It may fail late, or be trained or decoded in a way that is not its own, silently.",
        why=(
            "Of 50 families tried, 8 could not be decoded and 6 had another loss than their own, "
            "which only a comparison shows."
        ),
        evidence=("re-run here with transformers 5.23.0 on two random layers of each family",),
        instead=(
            "Compare a few texts with the model's own `generate` and the first training loss with "
            "its own, or choose a family that was tried; `paribus explain PB030` names some."
        ),
        check=_untried,
    ),
    Rule(
        id="PB034",
        title="A model for images and text is trained as a whole",
        severity=Severity.WARNING,
        what=(
            "Its image part takes memory that no plan counts and is never trained. LoRA puts "
            "adapters on layers of it that share a name with the decoder's."
        ),
        why="AutoModelForCausalLM loads Gemma 3 from 4B up with its image tower, texts or not.",
        evidence=(
            "re-run here with transformers 5.23.0: texts, loss, saving and loading agree, and 34 "
            "of 62 trained tensors (full) or 6 of 34 (LoRA) get no gradient",
            "counted from the config of Gemma 3 4B: 435 of 4,315 million parameters; in fp32, as "
            "full SFT holds them, 1.7 GB",
            "huggingface/transformers#43701 (raw loading of its checkpoints) does not happen here",
        ),
        instead="Use a text-only checkpoint: Gemma 3 270M or 1B, or the text part saved alone.",
        versions=_TESTED,
        check=_with_images,
    ),
    Rule(
        id="PB036",
        title="A model family that is known to remember GSM8K",
        severity=Severity.NOTE,
        what=(
            "Its accuracy on GSM8K is partly memory: the untuned model looks strong, and what "
            "tuning adds is hard to see or to carry over."
        ),
        why="Problems like those of the benchmark were among the texts that it was trained on.",
        evidence=(
            "Zhang et al. 2024 (arXiv:2405.00332): on 1,250 new problems of the same kind models "
            "lose up to 8 points, Phi and Mistral in nearly all sizes (13 in the first version)",
        ),
        instead=(
            "Compare arms of one model only, test the baseline, and repeat the main comparison on "
            "generated problems (task=wordproblems)."
        ),
        check=_known_problems,
    ),
)
