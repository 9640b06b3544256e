"""Cards about optimizers and what is added to them: what makes two arms unequal.

PB085   training.optimizer=lion at training.learning_rate=0.0002, as adamw in plain
"""

from collections.abc import Callable

from paribus.config.schema import DEFAULT_RATES, ArmConfig
from paribus.planning.rules.card import Facts, Rule, Severity
from paribus.planning.rules.method import is_found

_FEW = 0.1
"""Share of the weights."""


def _other(facts: Facts, differs: Callable[[ArmConfig], bool]) -> str | None:
    """Return the name of an arm that is trained and differs as is asked, or None."""
    tuned = {name: arm for name, arm in facts.arms.items() if arm.method != "none"}
    return next((name for name, arm in tuned.items() if differs(arm)), None)


def _few_weights(facts: Facts) -> str | None:
    training, estimate = facts.config.training, facts.estimate
    if not training.train_only or estimate is None or is_found(facts):
        return None
    share = estimate.trainable_parameters / estimate.total_parameters
    if share > _FEW or training.peak_rate != DEFAULT_RATES["full"]:
        return None
    return (
        f"training.train_only trains {share:.2%} of the weights at training.learning_rate="
        f"{training.peak_rate:g}, the default for all of them"
    )


def _noise(facts: Facts) -> str | None:
    alpha = facts.config.training.neftune_noise_alpha
    if facts.config.method == "none" or alpha is None:
        return None
    without = _other(facts, lambda arm: arm.training.neftune_noise_alpha is None)
    return without and f"training.neftune_noise_alpha={alpha:g} here, none in {without}"


def _paged_on_cpu(facts: Facts) -> str | None:
    optimizer = facts.config.training.optimizer
    if facts.config.method == "none" or facts.device.kind != "cpu" or "paged" not in optimizer:
        return None
    return f"training.optimizer={optimizer} on {facts.device.title}"


def _muon(facts: Facts) -> str | None:
    if facts.config.method == "none" or facts.config.training.optimizer != "muon":
        return None
    return f"training.optimizer=muon with method={facts.config.method}"


def _loraplus(facts: Facts) -> str | None:
    ratio, rate = facts.config.lora.loraplus_lr_ratio, facts.config.training.learning_rate
    if facts.config.method != "lora" or ratio is None or is_found(facts):
        return None
    plain = _other(
        facts,
        lambda arm: (
            arm.method == "lora"
            and arm.lora.loraplus_lr_ratio is None
            and arm.training.learning_rate == rate
        ),
    )
    return plain and (
        f"lora.loraplus_lr_ratio={ratio:g} at training.learning_rate={rate:g}, which {plain} has "
        "too, without it"
    )


def _kind(arm: ArmConfig) -> str:
    """Return an arm's optimizer, however its states are kept."""
    name = arm.training.optimizer.removeprefix("paged_")
    return name.removesuffix("_8bit").removesuffix("_32bit")


def _one_rate(facts: Facts) -> str | None:
    own, rate = facts.config, facts.config.training.learning_rate
    if own.method == "none" or is_found(facts) or _kind(own) == "adamw":
        return None
    same = _other(
        facts,
        lambda arm: (
            arm.method == own.method
            and arm.training.train_only == own.training.train_only
            and arm.training.learning_rate == rate
            and _kind(arm) != _kind(own)
        ),
    )
    return same and (
        f"training.optimizer={own.training.optimizer} at training.learning_rate={rate:g}, as "
        f"{facts.arms[same].training.optimizer} in {same}"
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB080",
        title="Few weights are trained at the learning rate for all of them",
        severity=Severity.WARNING,
        what="Few weights hardly move the model at a rate that suits all of them: the arm loses "
        "for its rate, not for what it trains.",
        why="Each step of AdamW moves a weight by about the learning rate. Where few of them move, "
        "each must move further for the same change of the model.",
        evidence=(
            "Measured here: the tiny model, its norms alone, 20 steps of 8 from a loss of 5.571: "
            "5.565 at 2e-5, 5.553 at 1e-3, 5.460 at 1e-2. All weights at 1e-3: 4.556.",
        ),
        instead="Set training.learning_rate for the arm, or let `tune: {}` find each arm's.",
        check=_few_weights,
    ),
    Rule(
        id="PB081",
        title="An arm with noise on its embeddings beside one without",
        severity=Severity.NOTE,
        what="Its training loss is measured under the noise, so it cannot be compared with the "
        "other's; its texts may get longer. Where scores count words, or texts are cut by the "
        "limit, that alone is a difference.",
        why="NEFTune regularises: it makes training harder, not the model better at its training "
        "data. What was published is judged conversation, in which longer answers win.",
        evidence=(
            "Jain et al., NEFTune (arXiv:2310.05914): a higher training loss, a lower test loss, "
            "longer outputs, and lower ROUGE-L and BLEU against the training data.",
            "Measured here: the tiny model, method=full at 1e-3, 20 steps of 8: a loss of 4.556 "
            "without, 4.558 with alpha 5, 4.572 with 15.",
            "Read here in transformers 5.23.0: its own hook scales by the tokens of the padded "
            "batch; paribus by those of each text, as the paper does.",
        ),
        instead="Compare held-out loss and scores, and look at the lengths of the texts.",
        check=_noise,
    ),
    Rule(
        id="PB082",
        title="A paged optimizer on a CPU",
        severity=Severity.ERROR,
        what="Nothing would be paged: the run would be one with the optimizer of the same name "
        "without `paged`, under another name.",
        why="Pages are CUDA's unified memory, which the GPU's driver moves to the CPU's memory "
        "where the GPU's is full.",
        evidence=(
            "Read here in bitsandbytes 0.50.2: on a CPU it warns that paged optimizers are not "
            "supported and makes usual states; states that are loaded from a checkpoint are not "
            "paged on a GPU either.",
        ),
        instead="Set training.optimizer to adamw_8bit, adamw or lion_8bit: the same steps.",
        check=_paged_on_cpu,
    ),
    Rule(
        id="PB083",
        title="Muon on a model that was pre-trained with AdamW",
        severity=Severity.NOTE,
        what="It may come out worse than AdamW, or the same, and be more sensitive to the learning "
        "rate. That says nothing of Muon in pre-training.",
        why="Muon makes all directions of a matrix's step equally long, also those in which the "
        "gradient is next to nothing. Weights that AdamW made are not what it would have made.",
        evidence=(
            "Can Muon Fine-tune Adam-Pretrained Models? (arXiv:2605.10468): worse in full "
            "fine-tuning, at lower best rates; level on LoRA's factors.",
            "MuonAll (arXiv:2511.06086): on a par with AdamW on models up to half a billion.",
            "torch 2.13.0, torch.optim.Muon: for matrices of hidden layers; embeddings and biases "
            "by another optimizer. Here that is AdamW, at the same rate.",
        ),
        instead="Let `tune: {}` find the rate of each arm, and read the finding as one on "
        "fine-tuning.",
        check=_muon,
    ),
    Rule(
        id="PB084",
        title="LoRA+ at plain LoRA's learning rate",
        severity=Severity.WARNING,
        what="All of B learns at a multiple of the rate, so a difference may be that of a higher "
        "learning rate and not of the ratio.",
        why="lora.loraplus_lr_ratio raises B's rate and leaves A's. What is compared with it "
        "should have its own best rate, which may be a higher one too.",
        evidence=(
            "Hayou et al., LoRA+ (arXiv:2402.12354): 1 to 2 % better and up to twice as fast, with "
            "a well-chosen ratio and rate.",
            "peft 0.21.2, create_loraplus_optimizer: make the rate slightly smaller, by 2 for "
            "example, than plain LoRA's.",
            "Measured here: the tiny model, 20 steps of 8 at 2e-3: a loss of 5.172 without, 5.066 "
            "with a ratio of 4, 5.203 with 16.",
        ),
        instead="Let `tune: {}` find each arm's rate, or state two.",
        check=_loraplus,
    ),
    Rule(
        id="PB085",
        title="Optimizers are compared at one learning rate",
        severity=Severity.WARNING,
        what="Whichever the rate suits wins. Another rate would give another order.",
        why="A rate is a length in AdamW and a factor of the gradient in SGD; Lion moves every "
        "weight by all of it, Adagrad by less from step to step. Lion's authors also raise weight "
        "decay as they lower the rate, as both are multiplied.",
        evidence=(
            "Measured here: the tiny model, method=full, 20 steps of 8 from a loss of 5.571, at "
            "1e-3 and at 1e-2: AdamW 4.56 and 3.29, Lion 4.50 and 2.86, Muon 4.68 and 2.37, "
            "RMSprop 3.38 and 2.73, Adagrad 4.87 and 3.39: RMSprop is first, then Muon.",
            "Chen et al., Lion (arXiv:2302.06675): a rate 3 to 10 times smaller than AdamW's, a "
            "weight decay 3 to 10 times larger.",
        ),
        instead="Let `tune: {}` find each arm's rate, or state one with each: matrix: "
        "{training.optimizer: {adamw: {}, lion: {training.learning_rate: 5e-5}}}.",
        check=_one_rate,
    ),
)
