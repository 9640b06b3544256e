"""Cards about `tune.space`: whether its budget finds anything.

violation: PB089 tune.flops=1e+12, and one trial trains with up to 3e+13 operations
"""

from paribus.planning.rules.card import Facts, Rule, Severity

_RANDOM = 10
"""Trials that Optuna's TPE draws at random first."""


def _is_searched(facts: Facts) -> bool:
    tune = facts.experiment.tune
    trains = facts.config.method != "none"
    return bool(tune and tune.space and trains and facts.arm not in tune.fixed)


def _unpaid(facts: Facts) -> str | None:
    tune = facts.experiment.tune
    if not _is_searched(facts) or tune is None or tune.flops is None:
        return None
    if facts.flops is None:
        return f"the shape of {facts.config.model} is not known, and operations follow from it"
    if 2 * facts.flops <= tune.flops:
        return None
    return f"tune.flops={tune.flops:.3g}, and one trial trains with up to {facts.flops:.3g}"


def _by_chance(facts: Facts) -> str | None:
    tune = facts.experiment.tune
    if not _is_searched(facts) or tune is None or tune.sampler != "tpe" or tune.flops:
        return None
    trials = tune.trials or _RANDOM + 2
    return f"tune.sampler=tpe and tune.trials={trials}" if trials <= _RANDOM else None


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB089",
        title="The operations for tuning do not pay for two trials",
        severity=Severity.ERROR,
        what="An arm would be tuned by one trial or none: nothing is chosen between.",
        why="An arm's trials end before the one that would exceed tune.flops. What a trial trains "
        "with is counted from the model's shape: 2 operations a weight and token forward, and 2 or "
        "4 backward.",
        evidence=("planning/cost/time.py: the count, without recomputation",),
        instead="Raise tune.flops, for example to 12 times what one trial takes, or state "
        "tune.trials in its place.",
        check=_unpaid,
    ),
    Rule(
        id="PB090",
        title="TPE has so few trials that all are random",
        severity=Severity.NOTE,
        what="The values are drawn by chance, as with tune.sampler=random.",
        why="TPE needs trials to learn from, and draws its first ten at random.",
        evidence=(
            "optuna 5.0.0, TPESampler: n_startup_trials=10",
            "Bergstra, Bengio 2012, JMLR 13: 281-305: random search is no poor choice: it beats a "
            "grid where few of the keys matter",
        ),
        instead="Nothing need change; with more than ten trials TPE does what its name says.",
        check=_by_chance,
    ),
)
