"""From the rounds of benchmarks/speed.py to its results: rates, ratios, shares, checks.

A round is what each part measured, by name: `{"full/paribus": {"losses": …}, "full/trainer": …}`.

    summarise(rounds, work, flops, limits)["ratios"]["full/trainer"]   # [median, lowest, highest]

Ratios are paired: paribus and the peer of the same round, minutes apart.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from speed_work import Work

from paribus.config.schema import Precision
from paribus.evaluation.scoring import own_text

TOLERANCE = {"fp32": (1e-5, 1e-4), "bf16": (2e-3, 1e-2)}
"""Largest difference of two losses as a share of the loss: at the first step, and at any.

In bf16, Gemma 3 270M on GSM8K: 0.0009 at the first step, where one residual stream is fp32 and the
other bf16; 0.004 at the second, where bf16 weights have rounded their update and fp32 masters not.
"""

ROUNDED = ("full/trainer", "full/trl-bf16")
"""Peers that train weights of bf16, in which most updates of a usual size are rounded away: they do
the same work and learn less. Only their first loss must be paribus'."""

LOST = {("fp32", "full/trainer"): 3e-5, ("fp32", "lora/trainer"): 3e-5}
"""Nats by which a peer's own loss may be wrong, which is not held against paribus'.

torch's `cross_entropy`, which the Trainer calls on whole rows of 262,144 logits, adds their
exponentials one by one in fp32. Beside float64 its loss is 1.2e-5 nats too low with AVX-512 and
2.4e-5 with AVX2; `logsumexp`, and tiles, as TRL and paribus have, stay within 1e-7.
"""

Round = Mapping[str, Mapping[str, Any]]
Spread = list[float]
"""Median, lowest, highest."""


def rate(name: str, figures: Mapping[str, Any], work: Work) -> float:
    """Return examples a second after the first step, or problems a second."""
    if name.startswith("evaluation/"):
        return len(work.prompts) / float(figures["seconds"])
    timed: list[float] = figures["seconds"][1:]
    return len(timed) * work.asked.batch / sum(timed)


def times(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """Return how many times as fast as `theirs` `ours` was, over the steps that both counted."""
    if "losses" not in ours:
        return float(theirs["seconds"]) / float(ours["seconds"])
    counted = slice(1, min(len(ours["seconds"]), len(theirs["seconds"])))
    return float(sum(theirs["seconds"][counted]) / sum(ours["seconds"][counted]))


def worth_repeating(names: Sequence[str], first: Round) -> list[str]:
    """Return the parts that later rounds do: of TRL's settings its defaults and the fastest.

    The others take most of the time, and what they are there to show, the first round shows.
    """
    settings = [name for name in names if "/trl-" in name and "error" not in first[name]]
    done = {
        method: [n for n in settings if n.startswith(f"{method}/")] for method in ("full", "lora")
    }
    fastest = {
        min(each, key=lambda n: sum(first[n]["seconds"][1:])) for each in done.values() if each
    }
    return [n for n in names if n not in settings or n.endswith("-defaults") or n in fastest]


def summarise(
    rounds: Sequence[Round],
    work: Work,
    flops: Mapping[str, Sequence[float]],
    limits: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """Return what is told of the rounds.

    `flops` are the useful operations of each counted step, by method; `limits` what the machine
    could do before each round. Parts that failed are in `failures` and nowhere else.
    """
    good = [{n: f for n, f in found.items() if "error" not in f} for found in rounds]
    names = list(dict.fromkeys(name for found in good for name in found))
    ceiling = median(limit["matrix_flops"] for limit in limits)
    return {
        "table": {name: _row(name, good, work, flops, ceiling) for name in names},
        "ratios": {name: _ratio(name, good) for name in names if _paired(name, good)},
        "fastest_trl": {
            method: _fastest(method, good)
            for method in flops
            if any(_ours(method) in found and _trl(method, found) for found in good)
        },
        "checks": [*_loss_checks(good, work), *_text_checks(good, work)],
        "failures": [
            {"round": number, "name": name, "error": figures["error"]}
            for number, found in enumerate(rounds, 1)
            for name, figures in found.items()
            if "error" in figures
        ],
    }


def _row(
    name: str,
    rounds: Sequence[Round],
    work: Work,
    flops: Mapping[str, Sequence[float]],
    ceiling: float,
) -> dict[str, Any]:
    found = [(rate(name, each[name], work), each[name]) for each in rounds if name in each]
    row: dict[str, Any] = {
        "rounds": len(found),
        "per_second": _spread([per_second for per_second, _ in found]),
        "peak_memory_bytes": _spread([figures["peak_memory_bytes"] for _, figures in found]),
    }
    method = name.partition("/")[0]
    if method in flops:
        done = _spread([_useful(flops[method], figures["seconds"][1:]) for _, figures in found])
        row |= {"useful_flops": done, "share_of_ceiling": done[0] / ceiling}
    return row


def _paired(name: str, rounds: Sequence[Round]) -> bool:
    ours = _ours(name)
    return name != ours and any(name in found and ours in found for found in rounds)


def _useful(flops: Sequence[float], seconds: Sequence[float]) -> float:
    """Return operations a second, of the counted steps that a part has done."""
    return sum(flops[: len(seconds)]) / sum(seconds)


def _ratio(name: str, rounds: Sequence[Round]) -> Spread:
    """Return how many times as fast as `name` paribus was, in the rounds that have both."""
    ours = _ours(name)
    return _spread(
        [times(found[ours], found[name]) for found in rounds if name in found and ours in found]
    )


def _fastest(method: str, rounds: Sequence[Round]) -> Spread:
    """Return paribus over the setting of TRL that was the fastest in the same round."""
    ours = _ours(method)
    return _spread(
        [
            min(times(found[ours], found[name]) for name in _trl(method, found))
            for found in rounds
            if ours in found and _trl(method, found)
        ]
    )


def _trl(method: str, found: Round) -> list[str]:
    return [name for name in found if name.startswith(f"{method}/trl-")]


def _ours(name: str) -> str:
    return f"{name.partition('/')[0]}/paribus"


def _loss_checks(rounds: Sequence[Round], work: Work) -> list[dict[str, Any]]:
    """Return for each peer whether its losses are paribus', step by step, in every round."""
    apart: dict[str, list[list[tuple[float, float]]]] = {}
    for found in rounds:
        for name, figures in found.items():
            ours = _ours(name)
            if name == ours or ours not in found or "losses" not in figures:
                continue
            # TRL does fewer steps.
            pairs = zip(found[ours]["losses"], figures["losses"], strict=False)
            apart.setdefault(name, []).append([(abs(a - b), abs(a)) for a, b in pairs])
    return [_loss_check(name, steps, work.asked.precision) for name, steps in apart.items()]


def _loss_check(
    name: str, rounds: Sequence[Sequence[tuple[float, float]]], precision: Precision
) -> dict[str, Any]:
    """Say how far a peer's losses lie from paribus': by round and step, nats apart of so many."""
    first, later = TOLERANCE[precision]
    lost = LOST.get((precision, name), 0.0)
    every = [step for steps in rounds for step in steps]
    at_first = max(nats / loss for nats, loss in (steps[0] for steps in rounds))
    at_any = max(nats / loss for nats, loss in every)
    same_first = all(steps[0][0] <= first * steps[0][1] + lost for steps in rounds)
    same = all(nats <= later * loss + lost for nats, loss in every)
    rounded = precision == "bf16" and name in ROUNDED
    why = ": its bf16 weights lose small updates" if rounded and same_first and not same else ""
    return {
        "name": name,
        "ok": same_first and (rounded or same),
        "said": f"losses within {at_first:.1g}, later {at_any:.1g}{why}",
        "first": at_first,
        "largest": at_any,
    }


def _text_checks(rounds: Sequence[Round], work: Work) -> list[dict[str, Any]]:
    """Return how many of lm-eval's texts are paribus', in the round where fewest are.

    In fp32 all must be. In bf16 two tokens often have the same logit, and the order of a sum
    decides between them: there the number is told and nothing is demanded.
    """
    ours, theirs = "evaluation/paribus", "evaluation/lm-eval"
    counts = [
        sum(own_text(a) == b for a, b in zip(r[ours]["texts"], r[theirs]["texts"], strict=True))
        for r in rounds
        if ours in r and theirs in r
    ]
    if not counts:
        return []
    problems = len(work.prompts)
    return [
        {
            "name": theirs,
            "ok": work.asked.precision == "bf16" or min(counts) == problems,
            "said": f"{min(counts)} of {problems} texts are identical",
            "identical": min(counts),
        }
    ]


def _spread(values: Sequence[float]) -> Spread:
    return [median(values), min(values), max(values)]
