"""A part of an experiment's runs, as `--arms full,lora --seeds 0,1` asks for it.

    part = Part(arms=("full",), seeds=(1, 2))
    part.check(design)             # UserError on a name or a number that the design has not
    part.of(design).runs           # full seed 1, full seed 2

An arm whose values are still to be found comes with its trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from paribus.config.keys import nearest
from paribus.design.matrix import Design
from paribus.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which runs are asked for.

    Attributes:
        arms: by name; empty for all.
        seeds: by their numbers, from 0; empty for all.
    """

    arms: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def check(self, design: Design) -> None:
        """Raise UserError if an arm or a seed is not there, or the part has no run."""
        names = [arm.name for arm in design.arms]
        for arm in self.arms:
            if arm not in names:
                raise UserError(
                    f"--arms: there is no arm {arm!r}{nearest(arm, names)}",
                    f"choose from {', '.join(names)}",
                )
        numbers = sorted({run.replicate for run in design.runs})
        for seed in self.seeds:
            if seed not in numbers:
                raise UserError(
                    f"--seeds: there is no seed {seed}",
                    f"choose from {', '.join(map(str, numbers[:8]))}{', …' * (len(numbers) > 8)}; "
                    "the experiment's `seeds` says how many there are",
                )
        if not self.of(design).runs:
            alone = ", ".join(self.arms)
            raise UserError(
                f"--arms {alone} --seeds {', '.join(map(str, self.seeds))}: there is no such run",
                f"add seed 0: an untuned model is tested once, and {alone} is one",
            )

    def of(self, design: Design) -> Design:
        """Return the design with the runs of this part, and the trials that they need."""
        if not (self.arms or self.seeds):
            return design
        runs = [
            run
            for run in design.runs
            if (not self.arms or run.arm in self.arms)
            and (not self.seeds or run.replicate in self.seeds)
        ]
        arms = {run.arm for run in runs}
        return replace(
            design,
            runs=runs,
            trials=[trial for trial in design.trials if trial.arm in arms],
            searches={arm: search for arm, search in design.searches.items() if arm in arms},
            open=design.open & arms,
        )
