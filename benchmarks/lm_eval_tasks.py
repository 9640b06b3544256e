"""Count the tasks of the installed lm-eval that load unchanged, and what refuses the others.

    python benchmarks/lm_eval_tasks.py                # a minute; needs paribus[lm-eval]

A task that is refused for several reasons counts under each of them. docs/tasks.md has the figures.
"""

import re
from collections import Counter
from importlib.metadata import version

from paribus.config.installed import task_names
from paribus.config.task_file import read_task
from paribus.errors import UserError
from paribus.evaluation.scorers import scorers_of

PLACE = re.compile(r"^.*?lm_eval/tasks/.*?:(?:\d+:)? ")
VALUES = re.compile(r"'[^']*'|=[^ ;:]+|\d+")


def refusals(name: str, *, trusted: bool) -> set[str]:
    """Return why a task is refused, each reason without its values; none if it loads."""
    try:
        scorers_of(read_task(name, trusted=trusted))
    except UserError as error:
        lines = (PLACE.sub("", line) for line in error.message.splitlines())
        return {VALUES.sub("…", line)[:60] for line in lines}
    return set()


def main() -> None:
    """Print the counts."""
    names = task_names()
    refused = {name: refusals(name, trusted=True) for name in names}
    loaded = [name for name, reasons in refused.items() if not reasons]
    plain = sum(not refusals(name, trusted=False) for name in loaded)
    print(f"lm-eval {version('lm_eval')}: {len(names):,} tasks")
    print(f"{plain:,} load; {len(loaded) - plain:,} more with trust_task_code: true")
    reasons = Counter(reason for found in refused.values() for reason in found)
    alone = Counter(next(iter(found)) for found in refused.values() if len(found) == 1)
    for reason, count in reasons.most_common():
        print(f"{count:6,} {alone[reason]:6,}  {reason}")


if __name__ == "__main__":
    main()
