"""Proposes what a search tries next, by Optuna: ask and tell.

    study = Study(search)
    trial = study.propose()             # a RunSpec: trial 1, with values of its own
    study.tell(1.05)                    # its held-out loss; None if it failed

Optuna keeps nothing on disk: the stored trials are told anew whenever a search continues. Each
proposal has a seed of its own, from the experiment's and the trial's number, so it depends on
nothing but the losses told before. Values that do not fit together, and values that were tried, are
not tried again; the search asks for others.
"""

import importlib.util
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from paribus.config.spec import RunSpec
from paribus.design.spaces import Search, is_whole
from paribus.errors import ConfigError, NotHere
from paribus.seeds import derive

MAX_ASKED = 2_000
"""Proposals for one trial before the space counts as spent."""
BY_CHANCE = 20
"""Proposals of TPE for one trial before chance proposes: TPE may stay with what it knows."""


def require_optuna() -> None:
    """Raise NotHere if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise NotHere(
            "tune.space is searched by the package optuna, which is not installed",
            "pip install 'paribus[tune]', or list tune.learning_rates in place of tune.space",
        )


class Study:
    """The search of one arm: proposes its trials one after the other."""

    def __init__(self, search: Search) -> None:
        """Begin `search`. Raises NotHere without Optuna."""
        require_optuna()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._study = optuna.create_study()
        self._search = search
        self._distributions = {
            key: _distribution(key, choices) for key, choices in search.keys.items()
        }
        self._tried: set[str] = set()
        self._asked: Any = None
        self.number = 0

    def propose(self) -> RunSpec:
        """Return the next trial. Raises ConfigError if the space holds no other values."""
        self.number += 1
        for attempt in range(MAX_ASKED):
            self._study.sampler = self._sampler(attempt)
            asked = self._study.ask(self._distributions)
            values = {
                key: choices[asked.params[key]] if isinstance(choices, list) else asked.params[key]
                for key, choices in self._search.keys.items()
            }
            text = json.dumps(values)
            if text not in self._tried:
                self._tried.add(text)
                with suppress(ConfigError):  # they do not fit together
                    trial = self._search.trial(self.number, values)
                    self._asked = asked
                    return trial
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        raise ConfigError(
            f"arm {self._search.template.arm}: tune.space has no values left for trial "
            f"{self.number}: all were tried, or do not fit together",
            f"set tune.trials={self.number - 1}, or widen tune.space",
        )

    def tell(self, loss: float | None) -> None:
        """Tell the held-out loss of the trial that was proposed last; None if it failed."""
        # As the worst there is: a rate that diverged is not worth a second try.
        self._study.tell(self._asked, math.inf if loss is None else loss)

    def _sampler(self, attempt: int) -> Any:
        samplers = self._optuna.samplers
        seed = derive(self._search.template.seed, "search", self.number, attempt) % 2**32
        if self._search.sampler == "random" or attempt >= BY_CHANCE:
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed)


def _distribution(key: str, choices: Any) -> Any:
    """Return Optuna's form of a range, or of the places in a list."""
    from optuna import distributions

    if not isinstance(choices, Mapping):
        return distributions.CategoricalDistribution(range(len(choices)))
    form = distributions.IntDistribution if is_whole(key) else distributions.FloatDistribution
    return form(choices["low"], choices["high"], log=choices["log"])
