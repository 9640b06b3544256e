"""Cards about the method: learning rates, adapters, checkpointing.

PB001   training.learning_rate=1e-05 with method=lora; what works is 5e-05 to 0.002
"""

from dataclasses import fields
from math import sqrt

from paribus.config.schema import DEFAULT_RATES, LoraConfig
from paribus.config.space import finds_rate
from paribus.models.shapes import Shape
from paribus.planning.rules.card import Facts, Rule, Severity
from paribus.planning.rules.environment import room

_LORA_RATES = (5e-5, 2e-3)
_HIGHEST_FULL_RATE = 1e-4
_SCALES = (1 / 16, 32)
_ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
_OTHER_RATES = ("lion", "lion_8bit", "paged_lion_8bit", "muon", "adagrad", "sgd")
_HEADS = frozenset({"lm_head", "embed_out"})


def _lora_rate(facts: Facts) -> str | None:
    if facts.config.method != "lora" or is_found(facts) or _of_other_rates(facts):
        return None
    rate, (low, high) = facts.config.training.peak_rate, _LORA_RATES
    if low <= rate <= high:
        return None
    return f"training.learning_rate={rate:g} with method=lora; what works is {low:g} to {high:g}"


def is_found(facts: Facts) -> bool:
    """Return whether trials will find the arm's learning rate: what it states is not used."""
    return finds_rate(facts.experiment.tune, facts.arm, facts.config.method)


def _of_other_rates(facts: Facts) -> bool:
    """Return whether the arm's optimizer wants other learning rates than AdamW."""
    return facts.config.training.optimizer in _OTHER_RATES


def _rate_of_adamw(facts: Facts) -> str | None:
    method, training = facts.config.method, facts.config.training
    if method == "none" or is_found(facts) or not _of_other_rates(facts):
        return None
    if training.peak_rate != DEFAULT_RATES.get(method):
        return None
    return (
        f"training.optimizer={training.optimizer} at training.learning_rate="
        f"{training.peak_rate:g}, which is AdamW's default with method={method}"
    )


def _rslora_at_same_alpha(facts: Facts) -> str | None:
    own = facts.config.lora
    if facts.config.method != "lora" or not own.use_rslora:
        return None
    for name, arm in facts.arms.items():
        plain = arm.method == "lora" and not arm.lora.use_rslora
        if plain and (arm.lora.r, arm.lora.alpha) == (own.r, own.alpha) and own.r > 1:
            return (
                f"lora.alpha={own.alpha:g} and lora.r={own.r} here and in {name}: the scale is "
                f"{own.alpha / sqrt(own.r):g} here, {own.alpha / own.r:g} there"
            )
    return None


def _full_rate(facts: Facts) -> str | None:
    if not facts.config.trains_all or is_found(facts) or _of_other_rates(facts):
        return None
    rate = facts.config.training.peak_rate
    if rate <= _HIGHEST_FULL_RATE:
        return None
    return f"training.learning_rate={rate:g} with method=full, over {_HIGHEST_FULL_RATE:g}"


def _attention_only(facts: Facts) -> str | None:
    def only(lora: LoraConfig) -> bool:
        return lora.targets != "all-linear" and set(lora.targets) <= _ATTENTION

    targets = facts.config.lora.targets
    if facts.config.method != "lora" or not only(facts.config.lora):
        return None
    if any(arm.method == "lora" and not only(arm.lora) for arm in facts.arms.values()):
        return None  # which layers get an adapter is what the experiment asks
    return f"lora.targets=[{', '.join(targets)}], none of them in an MLP"


def _head(facts: Facts) -> str | None:
    targets = facts.config.lora.targets
    if facts.config.method != "lora" or targets == "all-linear" or not _HEADS & set(targets):
        return None
    return f"lora.targets=[{', '.join(targets)}] has the output head"


def _rank(facts: Facts) -> str | None:
    if facts.config.method != "lora" or facts.shape is None:
        return None
    shape, lora = facts.shape, facts.config.lora
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    others = {"q_proj": queries, "o_proj": queries, "k_proj": keys, "v_proj": keys}
    others |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), shape.intermediate)
    widths = {
        name: min(shape.hidden, others[name])
        for name in lora.target_names(others)
        if name in others
    }
    narrow = [name for name, width in widths.items() if width <= lora.r]
    if not narrow:
        return None
    return f"lora.r={lora.r}, and {' and '.join(narrow[:2])} have a width of {widths[narrow[0]]}"


def _scale(facts: Facts) -> str | None:
    lora, (low, high) = facts.config.lora, _SCALES
    over, divisor = float(lora.r), f"lora.r={lora.r}"
    if lora.use_rslora:
        over, divisor = sqrt(lora.r), f"the square root of lora.r={lora.r}"
    scale = lora.alpha / over
    if facts.config.method != "lora" or low <= scale <= high:
        return None
    return f"lora.alpha={lora.alpha:g} / {divisor} = {scale:g}, outside {low:g} to {high:g}"


def _idle_lora(facts: Facts) -> str | None:
    own, shared = facts.config.lora, facts.experiment.lora
    if facts.config.method != "full" or own == shared:
        return None
    keys = [field.name for field in fields(own)]
    changed = [f"lora.{key}" for key in keys if getattr(own, key) != getattr(shared, key)]
    return f"method=full never reads {', '.join(changed)}, which this arm sets"


def _needless_checkpointing(facts: Facts) -> str | None:
    if facts.estimate is None or facts.estimate.training is None or facts.shape is None:
        return None
    if not facts.config.training.recomputes:
        return None
    copies = 2 * facts.estimate.trainable_parameters  # of weights, dropped by recomputation too
    most = facts.estimate.training.total + copies + most_kept(facts, facts.shape)
    if most > room(facts.device):
        return None
    return f"training.checkpointing=true; {facts.device.title} has room for all activations"


def most_kept(facts: Facts, shape: Shape) -> int:
    """Return more bytes than all layers of a pass can keep without recomputation.

    Every tensor that planning/cost/activations lists is taken to be there, and in fp32.
    """
    config = facts.config
    length = facts.tokens.longest_example if facts.tokens else config.prompt.max_tokens
    widths = 24 * shape.hidden + 10 * (shape.heads * shape.head_dim + shape.intermediate)
    pairs = 2 * shape.heads * length  # of tokens, where attention is written out
    token = 4 * (widths + pairs + 7 * config.lora.r)
    return shape.layers * config.training.pass_size * length * token


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB001",
        title="LoRA's learning rate is outside what works for LoRA",
        severity=Severity.WARNING,
        what="Too low, and the adapters have hardly moved when training ends; too high, and the "
        "loss jumps. Either way the arm loses for its rate, not for being LoRA.",
        why="One of an adapter's two matrices starts at zero, so its first steps do little. The "
        "best rate for LoRA is about ten times the best one for full SFT, whatever the rank. A "
        "rate copied from full SFT starves it.",
        evidence=(
            "Schulman et al., LoRA Without Regret (Thinking Machines, 2025): the best rate is "
            "about 10 times full SFT's, 15 times in short runs.",
            "Measured here: Gemma 3 270M, 160 short word problems, 20 steps of 8, mean loss of the "
            "last five steps: 2.63 at 1e-5 (the first step's was 2.29), 0.13 at 2e-4, 2.58 at 5e-3 "
            "after a peak of 10.7.",
            "LOG.md, choosing the quickstart: 320 examples, LoRA at 2e-4 solves 73 and at 5e-4 "
            "88 of 100.",
        ),
        instead="Start at ten times full SFT's rate (2e-4), or let `tune: {}` find each arm's.",
        check=_lora_rate,
    ),
    Rule(
        id="PB002",
        title="The learning rate is too high for full fine-tuning",
        severity=Severity.WARNING,
        what="The model forgets more than it learns: the loss falls, and accuracy ends below that "
        "of a lower rate, sometimes near the untrained model's.",
        why="Every weight moves by about the learning rate in every step of AdamW. What the model "
        "knew from pre-training is overwritten before the new data can take its place.",
        evidence=(
            "LOG.md, choosing the quickstart: Gemma 3 270M, 320 to 384 examples: 78 of 100 solved "
            "at 2e-5, 53 at 5e-5; on one-step problems 55 at 5e-5 and 6 at 1e-4 (baseline 5).",
            "Measured here, 160 short word problems, 20 steps of 8: at 2e-5 the loss ends at 0.10 "
            "and 7 of 16 are solved; at 3e-4 it rises to 5.9, ends at 0.28, and 2 are.",
        ),
        instead="Use 5e-6 to 5e-5, or let `tune: {}` find the rate by trials.",
        check=_full_rate,
    ),
    Rule(
        id="PB003",
        title="LoRA adapts attention only",
        severity=Severity.WARNING,
        what="The arm learns less than LoRA on all layers would, also at a higher rank, and a "
        "comparison with full SFT then blames LoRA for it.",
        why="Most of a decoder layer is its MLP: 71 % of the weights in Gemma 3 270M, 91 % in "
        "Gemma 2B. Many defaults (peft's for Gemma among them) name q_proj and v_proj only.",
        evidence=(
            "Schulman et al., LoRA Without Regret (Thinking Machines, 2025): attention-only LoRA "
            "is behind LoRA on the MLPs, also with as many parameters.",
            "Dettmers et al., QLoRA (arXiv:2305.14314), section 4: adapters on all linear layers "
            "are needed to come level with full fine-tuning.",
            "Read here in peft 0.21.2: its default for gemma is q_proj and v_proj.",
        ),
        instead="Leave lora.targets at its default, all seven linear layers, or make the targets "
        "a factor of the experiment.",
        check=_attention_only,
    ),
    Rule(
        id="PB004",
        title="An adapter on the output head would never train",
        severity=Severity.ERROR,
        what="The run would count the head's adapter among the trained parameters, and it would "
        "stay exactly zero. The file would say one thing and the run do another.",
        why="The loss works on hidden states and the head's own weight, 1,024 rows at a time, to "
        "save memory; an adapter around the head is not in that path. In most models the head is "
        "also the input embedding, and adapting one of two tied uses unties them.",
        evidence=(
            "Re-run here: peft 0.21.2, transformers 5.23.0, 4 steps with lora.targets=[q_proj, "
            "lm_head] on the tiny model: lm_head's lora_B has no gradient and sums to 0.0.",
            "huggingface/peft#2777: trouble with adapters on tied layers, merging among it.",
        ),
        instead="Leave lm_head out of lora.targets; to train the head use method: full.",
        check=_head,
    ),
    Rule(
        id="PB005",
        title="LoRA's rank is as large as a layer",
        severity=Severity.NOTE,
        what="The adapter has more weights than the layer that it adapts, so it is no longer a "
        "small update: memory and time go up and nothing more can be learnt.",
        why="A product of two matrices has no higher rank than the narrowest side of the layer. "
        "Keys and values are narrow where query heads share them.",
        evidence=(
            "Counted: Gemma 2B's k_proj is 2,048 x 256, 524,288 weights; its adapter of rank 256 "
            "has 256 x (2,048 + 256) = 589,824.",
        ),
        instead="Lower lora.r under the width, or use method: full.",
        check=_rank,
    ),
    Rule(
        id="PB006",
        title="LoRA's scale alpha / r is extreme",
        severity=Severity.WARNING,
        what="Too small, and the adapters hardly change the output; too large, and the first steps "
        "throw the model off.",
        why="The update is alpha / r times the product of the two matrices, so the scale acts much "
        "like another learning rate, one that nobody looks at.",
        evidence=(
            "Schulman et al., LoRA Without Regret (2025): alpha 32 with ranks 1 to 512, so scales "
            "of 32 to 1/16, at rates that hardly depend on the rank.",
            "Read here in peft 0.21.2: scaling is lora_alpha / r.",
        ),
        instead="Keep lora.alpha=32 for every rank, or alpha at one to two times r.",
        check=_scale,
    ),
    Rule(
        id="PB007",
        title="An arm of full fine-tuning sets LoRA's keys",
        severity=Severity.NOTE,
        what="The keys do nothing: the run is the same with or without them.",
        why="lora.* is read by method: lora only. Whoever wrote them for this arm probably meant "
        "method: lora.",
        evidence=(
            "Re-run here: `paribus plan` takes `full: {method: full, lora.r: 64}`; the run's "
            "identity has no lora.",
        ),
        instead="Set method: lora for the arm, or take the keys out.",
        check=_idle_lora,
    ),
    Rule(
        id="PB008",
        title="Checkpointing where memory is plentiful",
        severity=Severity.NOTE,
        what="Every training step does its forward pass twice and takes about a third longer, to "
        "save memory that nothing else wants.",
        why="With checkpointing activations are dropped in the forward pass and computed again in "
        "the backward pass. Results are the same; only memory and time change.",
        evidence=(
            "Chen et al., Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174): one "
            "more forward pass for each step.",
            "The room is a bound from above: all that layers keep, in fp32 and under the longest "
            "text (planning/cost/activations.py). It fires late rather than wrongly.",
        ),
        instead="Set training.checkpointing: false, or auto to decide by the device's memory.",
        check=_needless_checkpointing,
    ),
    Rule(
        id="PB072",
        title="Another optimizer at AdamW's learning rate",
        severity=Severity.WARNING,
        what="SGD and Adagrad hardly move the weights, Lion may move them too far, and what suits "
        "Muon is not known. The arm loses for its rate, not for its optimizer.",
        why="A step of AdamW moves every weight by about the learning rate, however small its "
        "gradient. SGD moves it by the rate times the gradient, which is far smaller than 1. Lion "
        "moves every weight by the whole rate in each step, also where AdamW's mean is small.",
        evidence=(
            "Measured here: the tiny model, method=full, 20 steps of 8, mean loss of the last four "
            "steps (the first step's was 5.57): at 1e-3 AdamW 4.62, Adafactor 4.52, Lion 4.54, SGD "
            "5.52; SGD at 3e-2 5.05.",
            "Chen et al., Symbolic Discovery of Optimization Algorithms (arXiv:2302.06675): Lion's "
            "rate is 3 to 10 times smaller than AdamW's, its weight decay as much larger.",
            "Read here in transformers 5.23.0: its SGD has no momentum, and its Adafactor neither "
            "relative steps nor scaling by the weights' size: its steps are like AdamW's.",
        ),
        instead="Set training.learning_rate for the optimizer: for SGD 0.01 to 1, for Lion a third "
        "to a tenth of AdamW's; or let `tune:` find it with a grid that reaches there.",
        check=_rate_of_adamw,
    ),
    Rule(
        id="PB073",
        title="rsLoRA and LoRA share one alpha",
        severity=Severity.NOTE,
        what="The two arms are the same method at two scales: what differs is the size of the "
        "update, as with another alpha or learning rate.",
        why="rsLoRA scales by alpha / sqrt(r), LoRA by alpha / r. At one rank rsLoRA equals LoRA "
        "at alpha times sqrt(r); only over several ranks do the two differ in kind.",
        evidence=(
            "Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA "
            "(arXiv:2312.03732): what it compares is how learning changes with the rank.",
            "Read here in peft 0.21.2: use_rslora changes the scaling and nothing else.",
        ),
        instead="For equal scales divide rsLoRA's lora.alpha by sqrt(r), compare over several "
        "ranks, or let `tune: {}` find each arm's rate.",
        check=_rslora_at_same_alpha,
    ),
)
