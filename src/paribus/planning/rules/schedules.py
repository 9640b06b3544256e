"""Rules about schedules, batches and rates: how much an arm learns, and whether that is fair.

    violation: PB040 training.batch_size=16 and 10 training examples

Warm-up shares, samplers that group by length and seeds that share epoch orders cannot go wrong
here: `training/train` passes steps, `training/batching` plans every batch from hashed seeds.
"""

from paribus.config.space import finds_rate
from paribus.planning.rules.card import Facts, Rule, Severity

_FEW_STEPS = 20
"""With fewer, the warm-up and the last small rates are most of the training."""
_MANY_PASSES = 5


def _shared_rate(facts: Facts) -> str | None:
    config = facts.config
    if config.method != "lora" or finds_rate(facts.experiment.tune, facts.arm, "lora"):
        return None
    rate = config.training.peak_rate
    arms = [arm for arm in facts.arms.values() if arm.model == config.model]
    full = {arm.training.peak_rate for arm in arms if arm.method == "full"}
    lora = {arm.training.peak_rate for arm in arms if arm.method == "lora"}
    if rate not in full or lora != {rate}:
        return None
    return f"full and lora arms share training.learning_rate={rate:g}"


def _few_steps(facts: Facts) -> str | None:
    if not facts.steps or facts.steps >= _FEW_STEPS:
        return None
    warm = round(facts.config.training.warmup * facts.steps)
    return f"{facts.steps} optimizer steps in all, {warm} of them warm-up"


def _batch_over_set(facts: Facts) -> str | None:
    examples = facts.tokens.train_examples if facts.tokens else 0
    size = facts.config.training.batch_size
    if not examples or size <= examples:
        return None
    return f"training.batch_size={size} and {examples} training examples"


def _never_seen(facts: Facts) -> str | None:
    examples = facts.tokens.train_examples if facts.tokens else 0
    size = facts.config.training.batch_size
    if not facts.steps or not examples or facts.steps * size > examples - size:
        return None
    return f"{facts.steps} steps of {size} see {facts.steps * size} of {examples} training problems"


def _many_passes(facts: Facts) -> str | None:
    examples = facts.tokens.train_examples if facts.tokens else 0
    if not facts.steps or not examples:
        return None
    passes = facts.steps * facts.config.training.batch_size / examples
    if passes <= _MANY_PASSES:
        return None
    return f"every one of {examples} training problems is seen {passes:.3g} times"


def _decoding_batches(facts: Facts) -> str | None:
    config = facts.config
    if config.training.precision != "bf16":
        return None
    tests = [arm.evaluation for arm in facts.arms.values() if arm.model == config.model]
    choices: dict[str, list[str]] = {
        "batch_size": [str(size) for size in sorted({test.at_once for test in tests})],
        "engine": sorted({test.engine for test in tests}),
    }
    differ = [
        f"evaluation.{key} is {' and '.join(values)}"
        for key, values in choices.items()
        if len(values) > 1
    ]
    return f"{', '.join(differ)} in arms of one model" if differ else None


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB037",
        title="Full SFT and LoRA are compared at one learning rate",
        severity=Severity.WARNING,
        what=(
            "The comparison shows what the shared rate does to each method, not which method is "
            "better: one of the two is far from its own best rate."
        ),
        why=(
            "LoRA changes few weights through a product of two small matrices and wants about ten "
            "times the rate of full SFT."
        ),
        evidence=(
            "measured here (LOG.md, choosing the quickstart): full SFT solved 78 of 100 problems "
            "at 2e-5 and 53 at 5e-5; LoRA 73 at 2e-4 and 88 at 5e-4",
            "Schulman and Thinking Machines Lab 2025, LoRA Without Regret: the best rates differ "
            "by a factor of about 10, in short runs about 15",
        ),
        instead=(
            "State none, and each method gets its default; or give each its own: matrix: {method: "
            "{full: {training.learning_rate: 2e-5}, lora: {training.learning_rate: 2e-4}}}; or "
            "let `tune: {}` find them."
        ),
        check=_shared_rate,
    ),
    Rule(
        id="PB038",
        title="Very few optimizer steps",
        severity=Severity.WARNING,
        what=(
            "The arm hardly leaves the untuned model, and what it learns hangs on which problems "
            "the few batches held."
        ),
        why=(
            "With a warm-up the first step has a rate of zero and the last ones nearly zero; a "
            "short warm-up rounds to no step at all, and training begins at the full rate."
        ),
        evidence=(
            "re-run here with transformers 5.23.0: cosine over 10 steps with one of warm-up gives "
            "0, 1, 0.97, 0.88, 0.75, 0.59, 0.41, 0.25, 0.12, 0.03 of the rate",
            "re-run here: training.warmup=0.03 rounds to no step below 17 steps",
        ),
        instead=(
            "Train on more problems or epochs, or lower training.batch_size; 20 steps are the "
            "least that this rule lets pass, not a recommendation."
        ),
        check=_few_steps,
    ),
    Rule(
        id="PB040",
        title="A batch is larger than the training set",
        severity=Severity.WARNING,
        what=(
            "Each optimizer step holds some problems twice and weighs them double. One epoch "
            "becomes one full batch, which is more than one pass."
        ),
        why="Batches are always full: what an epoch lacks comes from the next one.",
        evidence=(
            "re-run here: 10 examples with a batch of 16 and 1 epoch make 1 step of 16 examples, "
            "6 of them there twice; 16 examples make 1 step without repetition",
        ),
        instead="Lower training.batch_size (and micro_batch) to the number of training problems.",
        check=_batch_over_set,
    ),
    Rule(
        id="PB041",
        title="Some training problems are never trained on",
        severity=Severity.NOTE,
        what=(
            "data.train_size says more than the arm learns from; a figure of accuracy by training "
            "problems would be wrong by that much."
        ),
        why="training.max_steps, target_tokens or a fraction of an epoch ends training sooner.",
        evidence=(
            "read in training/batching: no problem comes twice before all came once, so that the "
            "steps times the batch size are the problems seen",
        ),
        instead="Lower data.train_size to what is seen, or train for a whole epoch.",
        check=_never_seen,
    ),
    Rule(
        id="PB042",
        title="Many passes over the training problems",
        severity=Severity.NOTE,
        what=(
            "The model begins to know the solutions by heart: the held-out likelihood of gold "
            "solutions gets worse while accuracy may still rise. Read the two apart."
        ),
        why="After some passes the training loss falls by memory and no longer by skill.",
        evidence=(
            "Ouyang et al. 2022 (arXiv:2203.02155): after 1 of 16 epochs the validation loss "
            "rose, and people still preferred the models trained for longer",
        ),
        instead=(
            "Train on more problems for fewer epochs, and give all compared arms the same number."
        ),
        check=_many_passes,
    ),
    Rule(
        id="PB043",
        title="Arms are decoded in batches of different sizes or by different engines, in bf16",
        severity=Severity.WARNING,
        what=(
            "Some texts differ between the arms for no reason but how they were decoded: noise "
            "that no seed explains and that an interval over problems does not know of."
        ),
        why=(
            "Other batch sizes and engines sum in another order. In bf16 that flips the choice "
            "between two nearly equal tokens, and every later token follows."
        ),
        evidence=(
            "measured here on Gemma 3 270M (CPU, bf16, torch 2.13.0, 48 generated problems): 4 "
            "texts changed from batch 1 to batch 24, and 3 from 1 to 48; in fp32 none did",
            "huggingface/transformers#25921 (open); unslothai/unsloth#9708: every batch size "
            "agrees in float32",
        ),
        instead=(
            "Give all arms one evaluation.batch_size and one engine, or set "
            "training.precision=fp32, in which the texts are the same for any size."
        ),
        check=_decoding_batches,
    ),
)
