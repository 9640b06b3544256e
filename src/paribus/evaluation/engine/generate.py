"""Greedy decoding of many problems: the same texts whatever the batch size.

    generations = generate(model, tokenizer, prompts, stop_ids=…, max_new_tokens=512, batch_size=50,
                           on_batch=print)              # 6, 7, 12, … problems are done

`batch_size` rows are at work at a time. When a few have stopped, the next problems take their
places while the others continue; when no problem waits any more, the batch shrinks. Memory is
that of `batch_size` rows, however many problems there are.

Forward passes and the cache are in `decoder`. What a row writes, where it stops, and which tokens
are guessed for it are in `decoding`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from paribus.evaluation.engine.decoder import Decoder
from paribus.evaluation.engine.decoding import Luck, OpenText, Rules, free_tokens
from paribus.models.device import peaks, reset_peak_memory
from paribus.prompts.encode import Prompt, shared_length
from paribus.records import Generation, Stop
from paribus.store.results import EvaluationCost, most_reserved

_REFILL = 8
"""An eighth of the rows is refilled at once: a pass over few tokens costs as much as over many."""


def generate(  # noqa: PLR0913  # what an engine needs to know
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    batch_size: int,
    on_batch: Callable[[int], None],
    calculator: bool = False,
    until: tuple[str, ...] | None = None,
) -> list[Generation]:
    """Return one generation per prompt, in the prompts' order.

    `on_batch` is called with the number of problems done so far, whenever some get done.
    `calculator` completes every `<<EXPRESSION=` that has a value; its tokens count in `num_tokens`
    and in `max_new_tokens`. A text ends at any of `until`; see `decoding.Rules`.
    """
    rules = Rules(
        tokenizer=tokenizer,
        stop_ids=stop_ids,
        max_new_tokens=max_new_tokens,
        calculator=calculator,
        until=until,
    )
    rows = [OpenText(prompt) for prompt in prompts]
    # The longest first: they take longest, and memory is at its peak early.
    waiting = sorted(rows, key=lambda row: len(row.prompt.ids))
    longest = max(len(row.prompt.ids) for row in rows) + max_new_tokens
    decoder = Decoder(model, min(batch_size, len(rows)), longest)
    with torch.inference_mode():
        decoder.share(prompts[0].ids[: shared_length([prompt.ids for prompt in prompts])])
        places: list[OpenText | None] = [None] * decoder.rows
        done, luck = 0, Luck(free_tokens(decoder.device, decoder.dtype))
        while done < len(rows):
            _fill(decoder, places, waiting)
            places = places if waiting else _shrink(decoder, places)
            stopped = _step(decoder, places, rules, luck)
            done += stopped
            if stopped:
                on_batch(done)
    return [rules.finished(row) for row in rows]


def measure(
    run: Callable[[], list[Generation]], device: torch.device
) -> tuple[list[Generation], EvaluationCost]:
    """Return what `run` generates, and its cost."""
    reset_peak_memory(device)
    started = time.perf_counter()
    generations = run()
    seconds = time.perf_counter() - started
    return generations, EvaluationCost(
        problems=len(generations),
        seconds=seconds,
        problems_per_second=len(generations) / seconds,
        generated_tokens=sum(generation.num_tokens for generation in generations),
        **peaks(device),
    )


def total_cost(costs: Sequence[EvaluationCost]) -> EvaluationCost:
    """Return the cost of several calls of `measure` as that of one."""
    problems = sum(cost.problems for cost in costs)
    seconds = sum(cost.seconds or 0.0 for cost in costs)
    return EvaluationCost(
        problems=problems,
        seconds=seconds,
        problems_per_second=problems / seconds,
        generated_tokens=sum(cost.generated_tokens or 0 for cost in costs),
        peak_memory_bytes=max(cost.peak_memory_bytes or 0 for cost in costs),
        **most_reserved(cost.peak_reserved_bytes for cost in costs),
    )


def _fill(decoder: Decoder, places: list[OpenText | None], waiting: list[OpenText]) -> None:
    """Give free places to problems from the end of `waiting`, if enough are free to be worth it."""
    free = [place for place, row in enumerate(places) if row is None]
    if not waiting or len(free) < min(max(1, len(places) // _REFILL), len(waiting)):
        return
    seated = {place: waiting.pop() for place in free[: len(waiting)]}
    for place, row in seated.items():
        places[place] = row
    decoder.prefill({place: row.prompt.ids for place, row in seated.items()})


def _shrink(decoder: Decoder, places: list[OpenText | None]) -> list[OpenText | None]:
    """Leave out free places, where the batch then gets smaller by a worthwhile amount."""
    at_work = [place for place, row in enumerate(places) if row is not None]
    size = decoder.places(len(at_work))
    if size >= len(places):
        return places
    free = [place for place, row in enumerate(places) if row is None]
    kept = [*at_work, *free[: size - len(at_work)]]
    decoder.keep(kept)
    return [places[place] for place in kept]


def _step(decoder: Decoder, places: list[OpenText | None], rules: Rules, luck: Luck) -> int:
    """Write in every row a token, and more as far as guesses come true; return how many rows stop.

    The places of those that stop are free.
    """
    at_work = {place: row for place, row in enumerate(places) if row is not None}
    number = luck.number(len(places))
    texts = {place: row.newest(number, rules.max_new_tokens) for place, row in at_work.items()}
    chosen, finite = decoder.step(texts)
    true = false = stopped = 0
    for place, row in at_work.items():
        guesses, _ = texts[place]
        written = rules.write(row, guesses[1:], chosen[place], finite[place])
        true += written - 1
        false += written < len(guesses)
        if row.stop is None:
            continue
        if row.stop is Stop.FAILED:
            decoder.clear(place)
        places[place] = None
        stopped += 1
    luck.note(true, false)
    return stopped
