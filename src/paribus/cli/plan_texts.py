"""What the arms of a plan read: problems and tokens, and what is left out."""

from rich.table import Table

from paribus.analysis.wording import join
from paribus.cli.console import captioned, table_of
from paribus.planning.inputs import TokenCounts
from paribus.planning.plan import Plan


def tokens_table(plan: Plan) -> Table:
    """Return what each arm reads: problems and tokens, and what had to be left out."""
    table = table_of(
        ["arm"], ["steps", "examples", "too long", "targets", "planned", "tests", "longest"]
    )
    for arm in plan.arms:
        tokens = arm.tokens
        if tokens is None:
            table.add_row(arm.name, *["?"] * 7)
            continue
        longest = max(tokens.longest_example, tokens.longest_prompt)
        table.add_row(
            arm.name,
            "" if arm.steps is None else str(arm.steps),
            f"{tokens.train_examples:,}",
            f"{tokens.train_dropped_too_long:,}",
            f"{tokens.target_tokens:,}",
            "" if arm.steps is None else f"{arm.planned_target_tokens:,}",
            f"{tokens.test_prompts:,}",
            f"{longest:,}",
        )
    return captioned(
        table,
        "too long: training examples over prompt.max_tokens, left out. targets: tokens with "
        "loss per epoch; planned: in all steps. longest: tokens of the longest training example "
        "or test prompt.",
    )


def left_out(plan: Plan) -> list[str]:
    """Return which problems are left out, a line for all arms that leave out the same ones."""
    arms: dict[str, list[str]] = {}
    for arm in plan.arms:
        if arm.tokens and (text := _problems_left_out(arm.tokens)):
            arms.setdefault(text, []).append(arm.name)
    return [
        f"[bold]Left out[/]: {text}{f' ({join(names)})' if len(arms) > 1 else ''}."
        for text, names in arms.items()
    ]


def _problems_left_out(tokens: TokenCounts) -> str:
    other = f", {tokens.other_gold:,} of them with another gold answer" if tokens.other_gold else ""
    parts = {
        f"training problems that repeat another{other}": tokens.train_duplicates,
        "test problems that repeat another": tokens.test_duplicates,
        "training problems that are tested": tokens.train_test_overlap,
    }
    return join([f"{count:,} {what}" for what, count in parts.items() if count])
