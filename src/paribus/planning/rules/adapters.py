"""Cards about LoRA's options and peft's other methods: what is not equal beside plain LoRA.

PB077   lora.init_lora_weights=pissa and plain LoRA (lora) share training.learning_rate=0.0002
"""

from math import prod

from paribus.config.peft_method import is_peft
from paribus.config.space import finds_rate
from paribus.planning.rules.card import Facts, Rule, Severity

_MANY = 10
"""Times as many weights as the adapters' are worth a card."""


def _dropout_in_dora(facts: Facts) -> str | None:
    lora = facts.config.lora
    if facts.config.method != "lora" or not lora.use_dora or not lora.dropout:
        return None
    return f"lora.use_dora=true with lora.dropout={lora.dropout:g}"


def _whole_beside_adapters(facts: Facts) -> str | None:
    own, shape = facts.config.lora, facts.shape
    if facts.config.method != "lora" or not own.modules_to_save or shape is None:
        return None
    targets = own.target_names(shape.linears)
    modules = shape.modules
    names = [name for name in modules if name.endswith(own.modules_to_save)]
    whole = sum(prod(size) for name in names for size in modules[name])
    layers = shape.layers if own.layers_to_transform is None else len(own.layers_to_transform)
    adapters = layers * sum(map(prod, shape.adapter_sizes(own.r, targets, dora=own.use_dora)))
    others = [name for name, arm in facts.arms.items() if arm.method == "lora"
              and arm.lora.modules_to_save != own.modules_to_save]  # fmt: skip
    if whole < _MANY * adapters or not others:
        return None
    return (
        f"lora.modules_to_save trains {whole:,} weights beside {adapters:,} of adapters; "
        f"{others[0]} does not train them"
    )


def _half_of_a_tie(facts: Facts) -> str | None:
    ends = facts.config.lora.modules_to_save
    if facts.config.method != "lora" or facts.shape is None or not facts.shape.tied or not ends:
        return None
    named = [name for name in ("model.embed_tokens", "lm_head") if name.endswith(ends)]
    if not named:
        return None
    return f"lora.modules_to_save=[{', '.join(ends)}] of a model whose head is its embedding"


def _start_at_loras_rate(facts: Facts) -> str | None:
    own = facts.config
    if own.method != "lora" or not own.lora.starts_from_weights or _is_found(facts):
        return None
    for name, arm in facts.arms.items():
        plain = arm.method == "lora" and not arm.lora.starts_from_weights
        if plain and arm.training.learning_rate == own.training.learning_rate:
            return (
                f"lora.init_lora_weights={own.lora.init_lora_weights} and plain LoRA ({name}) "
                f"share training.learning_rate={own.training.peak_rate:g}"
            )
    return None


def _peft_at_anothers_rate(facts: Facts) -> str | None:
    own = facts.config
    if not is_peft(own.method) or _is_found(facts):
        return None
    for name, arm in facts.arms.items():
        other = arm.method not in ("none", own.method)
        if other and arm.training.learning_rate == own.training.learning_rate:
            rate = own.training.peak_rate
            return f"method={own.method:.40} and {name} share training.learning_rate={rate:g}"
    return None


def _bound(facts: Facts) -> str | None:
    if not is_peft(facts.config.method) or facts.estimate is None:
        return None
    return f"method={facts.config.method:.60}"


def _is_found(facts: Facts) -> bool:
    """Return whether trials will find the arm's learning rate."""
    return finds_rate(facts.experiment.tune, facts.arm, facts.config.method)


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB074",
        title="DoRA with dropout multiplies by every adapted weight twice",
        severity=Severity.NOTE,
        what="A step takes about twice as long as LoRA's, and its memory is higher: a comparison "
        "of costs shows peft's way of computing DoRA, dropout included.",
        why="DoRA scales the base's own product. Where the adapter's input is dropped, peft "
        "computes that product again from the dropped input; without dropout it takes the first. "
        "Either way it multiplies B by A and measures every row of the sum in each pass.",
        evidence=(
            "peft's documentation of DoRA: it computes faster and takes less memory in evaluation, "
            "or when dropout is 0, as the base's result is used again then.",
            "Measured here: Gemma 3 270M in fp32, one core, 4 texts of 200 tokens, forward and "
            "backward: 12.8 s with DoRA and 5.6 s with LoRA at a dropout of 0.05; 7.1 s and 6.4 s "
            "without (peft 0.21.2, torch 2.13).",
        ),
        instead="Set lora.dropout=0 for every arm that DoRA is compared with.",
        check=_dropout_in_dora,
    ),
    Rule(
        id="PB075",
        title="Modules trained whole outweigh the adapters beside them",
        severity=Severity.WARNING,
        what="Most of what the arm trains are not adapters: it needs masters, gradients and "
        "optimizer states for them, its adapter file holds them, and it is no longer LoRA that is "
        "compared.",
        why="An embedding has a row for every token of the vocabulary; adapters have r rows and "
        "columns for each layer.",
        evidence=(
            "By the shapes: an embedding of 262,144 tokens and a width of 640 has 168 million "
            "weights; LoRA of rank 16 on all linear layers of that model (Gemma 3 270M) has 3.8.",
            "huggingface/peft#1750: the maintainers advise adapters in place of trained embeddings "
            "for Gemma, whose large embeddings push the number of trained weights up by a lot.",
        ),
        instead="Leave lora.modules_to_save out, or set it for every LoRA arm alike.",
        check=_whole_beside_adapters,
    ),
    Rule(
        id="PB076",
        title="peft trains a tied embedding and head apart",
        severity=Severity.WARNING,
        what="The model has two matrices after training where it had one. With one of them named, "
        "the other stays as it was; merged into the model, a trained head is lost.",
        why="peft makes a copy of each module in modules_to_save, and its config's "
        "tie_word_embeddings stays true: what loads the merged model ties them again.",
        evidence=(
            "huggingface/peft#2777 (2025, open): the two are trained separately, and a merged "
            "model that is loaded again gives nonsense.",
            "unslothai/unsloth#9331 (2026): measured on Qwen2.5-0.5B: the merged head is not the "
            "trained one.",
            "Re-run here with peft 0.21.2 on the tiny model: with embed_tokens named the head's "
            "weight is the untuned one, to the bit.",
        ),
        instead="Load the stored adapter on the untouched model and do not merge it; or leave both "
        "out of lora.modules_to_save.",
        check=_half_of_a_tie,
    ),
    Rule(
        id="PB077",
        title="PiSSA or OLoRA at plain LoRA's learning rate",
        severity=Severity.WARNING,
        what="The comparison shows what the shared rate does to each initialisation, not which of "
        "them is better.",
        why="An adapter that starts from the largest directions of a weight has larger gradients "
        "than one whose B is zero, and a sharper loss: its best rate is lower.",
        evidence=(
            "Lee et al., Learning Rate Matters: Vanilla LoRA May Suffice for LLM Fine-tuning "
            "(arXiv:2602.04998, 2026): variants, PiSSA among them, want learning rates of their "
            "own, which the largest Hessian eigenvalue explains; each at its best, all are within "
            "1 to 2 %.",
        ),
        instead="Let `tune: {}` find each arm's rate, or give this arm rates below LoRA's as well.",
        check=_start_at_loras_rate,
    ),
    Rule(
        id="PB078",
        title="What a method of peft's takes is a bound",
        severity=Severity.NOTE,
        what="Memory may be less than planned, and time is often more: it is estimated as if what "
        "trains were LoRA's.",
        why="Its weights are counted exactly, by adding them to a model without weights. What its "
        "layers keep and make for a moment is the method's own code, and was measured on small "
        "models: the plan has more than that.",
        evidence=(
            "Measured here with peft 0.21.2 on a layer of Llama's: beside what tokens need, BOFT "
            "keeps 1.2 times its input's width squared, HRA r + 1.1 times, WaveFT one value per "
            "weight; other methods next to nothing.",
        ),
        instead="Measure two real steps: `paribus plan FILE --probe`.",
        check=_bound,
    ),
    Rule(
        id="PB079",
        title="A method of peft's shares a learning rate with another method",
        severity=Severity.WARNING,
        what="One of the two hardly moves, or the other diverges: the arms differ by their rates.",
        why="Few weights that scale others must move further than matrices do. Rates of methods "
        "differ by factors of ten and more.",
        evidence=(
            "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning (arXiv:2205.05638, 2022): the "
            "recipe for IA3 uses 3e-3, ten times what is usual for LoRA.",
            "Measured here: the tiny model, 10 steps of 4 at 1e-2, loss from 5.56 to 5.19 with "
            "LoRA, to 5.53 with IA3 and with VeRA, to 5.49 with LN tuning (peft 0.21.2).",
        ),
        instead="Give each method its own rate: matrix: {method: {lora: {training.learning_rate: "
        "2e-4}, IA3: {training.learning_rate: 3e-3}}}; or search with tune.space.",
        check=_peft_at_anothers_rate,
    ),
)
