"""From the parts of benchmarks/speed_gpu.py to its results: medians, ratios, shares, losses.

    summarise(parts, work)["training"]["full/paribus"]["ms"]      # [median, lowest, highest]
    line(parts[0])                                                # 'full/paribus: 110 ms a step'

A part is what was measured once: `{"name": "full/paribus", "round": 1, "seconds": […], …}`, or
`absent` or `error` in place of figures.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from speed_machine import useful_flops
from speed_summary import TOLERANCE
from speed_work import Work, work_shape

WARM = 3
"""Steps that are not counted: kernels are chosen, compiled and tuned in them."""

MEMORY = ("peak_memory_bytes", "peak_reserved_bytes", "card_bytes")

Part = dict[str, Any]


def summarise(parts: Sequence[Part], work: Work) -> dict[str, Any]:
    """Return what is told of the parts so far."""
    ceilings = next((part for part in parts if "matrix_flops" in part), {})
    named = {part["name"]: part for part in reversed(parts)}  # of each the first
    training = _by_name(parts, "seconds")
    decoding = _by_name(parts, "rows")
    return {
        "machine": ceilings.get("machine"),
        "ceilings": {
            key: value for key, value in ceilings.items() if key.endswith(("flops", "bytes"))
        },
        "tokens": sum(len(ids) for ids, _ in work.examples) / len(work.batches),
        "target_tokens": sum(len(ids) - n for ids, n in work.examples) / len(work.batches),
        "training": {name: _training(name, training, work, ceilings) for name in training},
        "decoding": {name: _decoding(name, decoding) for name in decoding},
        "profile": {
            name.partition("/")[2]: {key: value for key, value in part.items() if key in _COUNTS}
            for name, part in named.items()
            if name.startswith("profile/") and "longest" in part
        },
        "not_run": {
            part["name"]: part.get("error") or part["absent"]
            for part in parts
            if "error" in part or "absent" in part
        },
    }


_COUNTS = ("launches", "graphs", "stops", "kernels", "device_ms")


def _by_name(parts: Sequence[Part], key: str) -> dict[str, dict[int, Part]]:
    """Return the parts that have `key`, by name and round."""
    found: dict[str, dict[int, Part]] = {}
    for part in parts:
        if key in part:
            found.setdefault(part["name"], {})[part["round"]] = part
    return found


def _training(
    name: str, training: dict[str, dict[int, Part]], work: Work, ceilings: Part
) -> dict[str, Any]:
    """Return a row: steps of all rounds, and paribus over this peer, paired by round."""
    method = name.partition("/")[0]
    rounds, ours = training[name], training.get(f"{method}/paribus", {})
    steps = [seconds for part in rounds.values() for seconds in part["seconds"][WARM:]]
    shape = work_shape(work)
    operations = sum(
        useful_flops(shape, work.step(step), method=method)
        for step in range(WARM, len(work.batches))
    )
    a_second = len(rounds) * operations / sum(steps)
    first = next(iter(rounds.values()))["losses"][0]
    own = next(iter(ours.values()))["losses"][0] if ours else None
    apart = None if own is None else abs(first - own) / own
    return {
        "rounds": len(rounds),
        "ms": [1e3 * value for value in _spread(steps)],
        "times": _spread(
            [_step(part) / _step(ours[number]) for number, part in rounds.items() if number in ours]
        ),
        "useful_flops": a_second,
        "of_measured": _share(a_second, ceilings.get("matrix_flops")),
        "of_published": _share(a_second, ceilings.get("published_flops")),
        "first_loss": first,
        "apart": apart,
        "alike": apart is None or apart <= TOLERANCE[work.asked.precision][0],
        **_memory(list(rounds.values())),
    }


def _step(part: Part) -> float:
    return float(median(part["seconds"][WARM:]))


def _decoding(name: str, decoding: dict[str, dict[int, Part]]) -> dict[str, Any]:
    """Return for each number of rows the tokens a second, and paribus over this peer."""
    rounds, ours = decoding[name], decoding.get("decoding/paribus", {})
    every = dict.fromkeys(rows for part in rounds.values() for rows in part["rows"])
    table = {}
    for rows in every:
        found = {
            number: part["rows"][rows] for number, part in rounds.items() if rows in part["rows"]
        }
        own = {number: part["rows"].get(rows) for number, part in ours.items()}
        table[rows] = {
            "per_second": _spread([_rate(each) for each in found.values()]),
            "times": _spread(
                [_rate(own[n]) / _rate(each) for n, each in found.items() if own.get(n)]
            ),
            **_memory(list(found.values())),
        }
    return table


def _rate(found: Any) -> float:
    return float(found["tokens"] / found["seconds"])


def _memory(parts: Sequence[Part]) -> dict[str, int]:
    return {
        key: max(part[key] for part in parts)
        for key in MEMORY
        if all(key in part for part in parts)
    }


def _share(value: float, of: float | None) -> float | None:
    return value / of if of else None


def _spread(values: Sequence[float]) -> list[float]:
    """Return median, lowest and highest, or nothing of nothing."""
    return [median(values), min(values), max(values)] if values else []


def line(part: Part) -> str:
    """Return a part as a line for the terminal."""
    said = f"round {part['round']}  {part['name']}"
    if "error" in part or "absent" in part:
        return (
            f"{said}: {'FAILED, ' if 'error' in part else ''}{part.get('error') or part['absent']}"
        )
    if "seconds" in part:
        return f"{said}: {1e3 * _step(part):.0f} ms a step, loss {part['losses'][0]:.4f} at first"
    if "rows" in part:
        rates = [f"{_rate(found):,.0f} at {rows}" for rows, found in part["rows"].items()]
        return f"{said}: tokens/s {', '.join(rates)} rows"
    if "longest" in part:
        return f"{said}: " + ", ".join(f"{part[key]} {key}" for key in _COUNTS)
    return f"{said}: {part['matrix_flops'] / 1e12:.4g} TFLOP/s, {part['copy_bytes'] / 1e9:.0f} GB/s"
