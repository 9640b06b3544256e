"""Rules about seeds, test problems, protocols and sources: what an experiment can show at all.

violation: PB046 data.test_size=50: 23.2 points or more would be shown 8 times in 10

Statistics are imported where they are used: scipy is memory and a third of a second
that neither a run, which loads the cards of its probes, nor `explain` should pay.
"""

from pathlib import Path

from paribus.config.schema import ArmConfig
from paribus.models import packaged
from paribus.planning.rules.card import Facts, Rule, Severity
from paribus.prompts.formats import protocols

_FEW_PROBLEMS = 100
_FEW_TO_CHOOSE_BY = 50
"""Validation problems."""


def _trained(facts: Facts) -> list[ArmConfig]:
    return [arm for arm in facts.arms.values() if arm.method != "none"]


def _two_seeds(facts: Facts) -> str | None:
    from paribus.statistics.crossed import MIN_SEEDS

    seeds = facts.experiment.seeds
    return f"seeds={seeds}" if _trained(facts) and 1 < seeds < MIN_SEEDS else None


def _one_seed(facts: Facts) -> str | None:
    several = len(_trained(facts)) > 1
    if facts.experiment.seeds != 1 or not facts.experiment.hypothesis or not several:
        return None
    return f"seeds=1, and a hypothesis about {len(_trained(facts))} ways to tune"


def _few_problems(facts: Facts) -> str | None:
    size = facts.config.data.test_size
    if size == "all" or size >= _FEW_PROBLEMS or facts.config.task.measures_loss:
        return None
    from paribus.planning.foresight import foresee

    foresight = foresee(
        n=size,
        seeds=facts.experiment.seeds,
        comparisons=facts.comparisons,
        looks=facts.experiment.looks or (),
        hypothesis="",
    )
    seen = foresight.detectable
    missed = "no difference would" if seen is None else f"{100 * seen:.1f} points or more would"
    return f"data.test_size={size}: {missed} be shown 8 times in 10"


def _shots_for_tuned(facts: Facts) -> str | None:
    protocol = facts.config.evaluation.protocol
    if facts.config.method == "none" or protocol == "zero_shot":
        return None
    return f"method={facts.config.method} with evaluation.protocol={protocol}"


def _format_unknown(facts: Facts) -> str | None:
    if facts.config.method != "none" or facts.tokens is None or facts.tokens.instruction_tuned:
        return None
    if any(protocol.shots != "zero_shot" for protocol in protocols(facts.config)):
        return None
    return f"{facts.config.model}, untuned, is asked without a solved example"


def _unpinned(facts: Facts) -> str | None:
    config, open_ends = facts.config, []
    local = config.model == packaged.NAME or Path(config.model).is_absolute()
    if not local and config.revision is None:
        open_ends.append(f"model={config.model} without revision")
    hub = config.task.dataset_path is not None
    if hub and not (config.data.path or config.data.revision):
        open_ends.append(f"task={config.task.source} without data.revision")
    return ", ".join(open_ends) or None


def _chooses(facts: Facts) -> bool:
    return facts.config.is_validated and facts.config.evaluation.checkpoint == "best_loss"


def _few_to_choose_by(facts: Facts) -> str | None:
    size = facts.config.data.validation_size
    few = _chooses(facts) and size < _FEW_TO_CHOOSE_BY
    return f"evaluation.checkpoint=best_loss with data.validation_size={size}" if few else None


def _chosen_by_loss(facts: Facts) -> str | None:
    if not _chooses(facts) or facts.config.task.measures_loss:
        return None
    return "the checkpoint is chosen by its loss, and arms are compared by what they answer"


def _alike(facts: Facts) -> str | None:
    return (facts.tokens.alike if facts.tokens else "") or None


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB070",
        title="Test problems are copies of each other, or of one template",
        severity=Severity.WARNING,
        what=(
            "Problems that stand or fall together count as if each were evidence of its own: "
            "intervals are too narrow, and differences are claimed that are none."
        ),
        why=(
            "Every test but that of groups takes the problems for independent draws. Whoever "
            "solves one problem of a template mostly solves the others."
        ),
        evidence=(
            "simulated here (tests/test_alike.py): with four problems of each template, two like "
            "arms are told apart 1 time in 7 where 1 in 20 is promised, and with the sets that are "
            "found here as groups 1 in 20",
        ),
        instead=(
            "Give each line of the test file a key that names its template or seed question, and "
            "set data.group_by to it; or keep one problem of each."
        ),
        check=_alike,
    ),
    Rule(
        id="PB086",
        title="A checkpoint is chosen by few validation problems",
        severity=Severity.NOTE,
        what=(
            "Other validation problems might have chosen another checkpoint, and seeds of an arm "
            "may be tested at moments that differ by chance."
        ),
        why=(
            "Losses of neighbouring checkpoints differ by little, and those of single problems by "
            "much."
        ),
        evidence=(
            "measured here (benchmarks/checkpoints.py, Gemma 3 270M, six moments while the loss "
            "fell): 10 problems chose another checkpoint than 120 did 1 time in 5 for LoRA and 1 "
            "in 8 for full SFT, at a loss 0.001 higher on average; 50 at most 1 time in 50",
        ),
        instead=(
            "Set data.validation_size=200, or test the last weights (evaluation.checkpoint=last)."
        ),
        check=_few_to_choose_by,
    ),
    Rule(
        id="PB087",
        title="The checkpoint with the lowest loss need not be the one that solves most",
        severity=Severity.NOTE,
        what=(
            "A later checkpoint may solve more with a higher loss. Arms are then compared where "
            "neither is at its best."
        ),
        why=(
            "The loss judges each token of one gold solution; a text may solve the problem in "
            "other words. A model that grows sure of itself pays more for each token it misses."
        ),
        evidence=(
            "Ouyang et al. 2022 (arXiv:2203.02155): after 1 of 16 epochs the validation loss "
            "rose, and people still preferred the models trained for longer",
        ),
        instead=(
            "Set evaluation.at_generates=true to see both in the report, and give all compared "
            "arms one rule."
        ),
        check=_chosen_by_loss,
    ),
    Rule(
        id="PB044",
        title="Two seeds give no verdict",
        severity=Severity.WARNING,
        what="Every comparison will say `not shown`, whatever comes out.",
        why=(
            "Two values do not say how much the seed matters, so no interval over them can be "
            "relied on. One seed compares the trained models, three compare the methods."
        ),
        evidence=(
            "measured here (docs/statistics.md, simulated experiments): over two seeds a 95 % "
            "interval held the truth less than 9 times in 10",
        ),
        instead="Set seeds=3 or more; or seeds=1, and speak of these trained models only.",
        check=_two_seeds,
    ),
    Rule(
        id="PB045",
        title="A hypothesis about methods, and one seed",
        severity=Severity.NOTE,
        what=(
            "Every verdict will speak of these trained models. Whether the method is better stays "
            "open: with another seed the same arms may come out the other way round."
        ),
        why="One run of an arm does not tell what the method does from what this seed did.",
        evidence=(
            "measured here: at four more base seeds of the quickstart, LoRA on socratic solutions "
            "fell 15 to 22 points behind a neighbour in three (LOG.md)",
        ),
        instead="Set seeds=3 where you can afford it; else read every verdict as one on models.",
        check=_one_seed,
    ),
    Rule(
        id="PB046",
        title="Too few test problems for verdicts",
        severity=Severity.WARNING,
        what=(
            "Only very large differences can be shown, and `not shown` says next to nothing. The "
            "project that paribus grew from tested 100 problems."
        ),
        why="The interval of a difference narrows with the square root of the problems only.",
        evidence=(
            "computed here by statistics/power, for two models about 50 % and one comparison: 50 "
            "problems show 23 points, 100 show 16, 200 show 11, 1,319 show 4 (8 times in 10)",
        ),
        instead=(
            "Raise data.test_size: testing costs little beside training. `paribus power` says how "
            "many problems a difference needs."
        ),
        check=_few_problems,
    ),
    Rule(
        id="PB047",
        title="A tuned arm is tested with solved examples in its prompt",
        severity=Severity.WARNING,
        what=(
            "The arm is tested in a format it was not trained on, so part of what it learnt does "
            "not show, and prompts cost several times the tokens."
        ),
        why="Training examples never hold solved examples, whatever the test protocol is.",
        evidence=("read in planning/prepare: training prompts are always zero-shot",),
        instead=(
            "Set evaluation.protocol=zero_shot, and put one_shot or few_shot protocols into "
            "evaluation.also, where they are tested beside it."
        ),
        check=_shots_for_tuned,
    ),
    Rule(
        id="PB048",
        title="An untuned base model is not shown the answer format",
        severity=Severity.NOTE,
        what=(
            "The baseline scores near zero under rules that look for `#### N`, whatever it can "
            "calculate, and tuning seems to teach all that it scores."
        ),
        why="A base model cannot know that an answer is to end in `#### N` unless it is shown one.",
        evidence=(
            "measured here on Gemma 3 270M and 48 generated problems: none of its texts held "
            "`####` without a solved example, all 48 did with one",
        ),
        instead=(
            "Set baseline: {protocol: one_shot}; where `strict` asks for zero_shot, add "
            "evaluation.also=[one_shot/raw]."
        ),
        check=_format_unknown,
    ),
    Rule(
        id="PB035",
        title="Weights or problems from the Hub without a pinned revision",
        severity=Severity.NOTE,
        what=(
            "Started again elsewhere or later, the same file may mean other weights or problems. "
            "An experiment that is half done is refused then, and never mixed."
        ),
        why="Without a revision the Hub gives the newest commit of its main branch.",
        evidence=(
            "read in models/source and running/local: spec.json keeps the commit and hashes of "
            "problems, and a complete run that had others stops the experiment",
        ),
        instead="Set `revision` and `data.revision` to a commit; the Hub shows those of each page.",
        check=_unpinned,
    ),
)
