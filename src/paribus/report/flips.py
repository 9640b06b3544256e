"""The flips browser: which problems one run solved and another did not, with both texts.

    flips_data(tables, tables.declared)["contrasts"]    # [{"label": "full − lora", "a": 0, "b": 1}]

The page holds every text once, as JSON in a `<script>` that no browser executes, and one script
of ours, `templates/flips.js`, that shows them. That script is the only one the page's policy
lets run: `browser` names it by its hash. What goes into the JSON is untrusted; it is escaped
here, and the script puts it on the page as text, never as markup.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from paribus.analysis.pairing import Key, keys_of
from paribus.analysis.tables import Run, Tables
from paribus.evaluation.signals import signal
from paribus.report.words import OUTCOMES, SIGNALS, STOPS

_PLACES: list[dict[Any, int]] = [
    {each: place for place, each in enumerate(words)} for words in (OUTCOMES, SIGNALS, STOPS)
]
_OUTCOME, _SIGNAL, _STOP = _PLACES
"""Where the words of each stand in their column."""
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """What the page inlines: JSON, the script's exact source, and its `script-src` for the CSP."""

    data: Markup
    script: Markup
    script_source: str


def browser(tables: Tables) -> Browser | None:
    """Return the flips browser of `tables`, or None with fewer than two runs to compare."""
    data = flips_data(tables, tables.declared)
    if len(data["runs"]) < 2:
        return None
    script = (files("paribus.report") / "templates" / "flips.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Browser(
        data=Markup(script_json(data)),  # noqa: S704 - script_json leaves no markup
        script=Markup(script),  # noqa: S704 - our own file
        script_source=f"'sha256-{digest}'",
    )


def flips_data(tables: Tables, contrasts: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Return the complete runs of `tables`, column by column, and the `contrasts` (a, b, factor).

    The columns of a run are parallel to `problems`; null: nothing to say, or not tested on it.

    | key          | value                                                                     |
    |--------------|---------------------------------------------------------------------------|
    | `problems`   | question, group, golds: each [answer, solution] some run was judged by     |
    | `texts`      | every text written, once                                                   |
    | `runs`       | label; columns texts, outcomes, signals, stops: indices into these         |
    | `contrasts`  | label; a, b: indices into `runs`; one for each seed                        |
    | `outcomes`, `signals`, `stops` | plain words                                             |
    """
    runs = [run for run in tables.complete if run.generations]
    problems: dict[Key, dict[str, Any]] = {}
    for run in runs:
        for key, generation in zip(keys_of(run), run.generations, strict=True):
            first = {"question": generation.question, "group": generation.group, "golds": []}
            golds = problems.setdefault(key, first)["golds"]
            gold = [generation.answer, generation.solution]
            if gold not in golds:
                golds.append(gold)
    texts: dict[str, int] = {}
    several = len({run.seed for run in tables.runs}) > 1
    columns = [
        {"label": _label(run, several), **_columns(run, list(problems), texts)} for run in runs
    ]
    return {
        "problems": list(problems.values()),
        "texts": list(texts),
        "runs": columns,
        "contrasts": list(_contrasts(tables, contrasts, runs)),
        "outcomes": list(OUTCOMES.values()),
        "signals": list(SIGNALS.values()),
        "stops": list(STOPS.values()),
    }


def script_json(value: Any) -> str:
    """Return `value` as ASCII JSON that cannot end, or open anything in, a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _columns(run: Run, keys: Sequence[Key], texts: dict[str, int]) -> dict[str, list[int | None]]:
    """Return the run's columns in the order of `keys`; texts new to `texts` are added to it."""
    found = {
        key: {
            "texts": texts.setdefault(generation.text, len(texts)),
            "outcomes": _OUTCOME.get(outcome),
            "signals": _SIGNAL.get(signal(generation, outcome, run.style)),
            # Generations made elsewhere have no result, and nobody knows why they ended.
            "stops": _STOP.get(generation.stop) if run.result else None,
        }
        for key, generation, outcome in zip(keys_of(run), run.generations, run.judged, strict=True)
    }
    names = ("texts", "outcomes", "signals", "stops")
    return {name: [found.get(key, {}).get(name) for key in keys] for name in names}


def _contrasts(
    tables: Tables, contrasts: Sequence[tuple[str, str, str]], runs: Sequence[Run]
) -> Iterator[dict[str, Any]]:
    """Each contrast with each seed that both arms have; an untuned arm's run goes with all."""
    places = {(run.arm, run.seed): place for place, run in enumerate(runs)}
    untuned = {arm.name for arm in tables.arms if arm.untuned}
    for a, b, factor in contrasts:
        seeds = sorted({run.seed for run in tables.runs if run.arm in (a, b)})
        for seed in seeds:
            place_a, place_b = (places.get((arm, 0 if arm in untuned else seed)) for arm in (a, b))
            if place_a is not None and place_b is not None:
                label = f"{a} − {b}" + (f", seed {seed}" if len(seeds) > 1 else "")
                yield {"label": f"{label} ({factor})", "a": place_a, "b": place_b}


def _label(run: Run, several: bool) -> str:
    return f"{run.arm}, seed {run.seed}" if several else run.arm
