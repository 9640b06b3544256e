"""Guesses from the text itself: what is guessed, how many, and that no text changes by it."""

import pytest
import torch

from decoding import FULL, NEW, STOPS, Ids, brief, prompts_of, wild
from paribus.evaluation.engine import decoding
from paribus.evaluation.engine.decoding import LOOK, Draft, Luck, OpenText, Rules
from paribus.evaluation.engine.generate import generate
from paribus.models.load import decoder_and_head
from paribus.records import Stop

A, B, C, D, E = range(5)


@pytest.mark.parametrize(
    ("text", "number", "following"),
    [
        ([], 3, []),
        ([A], 3, []),
        ([A, B, C], 3, []),
        ([A, A], 3, [A, A, A]),
        ([A, B, A], 3, [B, A, B]),
        ([A, B, C, A, B], 1, [C]),
        ([A, B, C, A, B], 4, [C, A, B, C]),
        ([A, B, C, D, E, A, B, C], 2, [D, E]),
        ([C, D, A, C, E, B, C], 2, [E, B]),  # the last time, not the first
        ([A, C, D, B, C, E, A, C], 2, [D, B]),  # two tokens alike say more than one
        ([A, B, C, D, E, B, C, A, A, B, C], 2, [D, E]),  # three more than two
    ],
)
def test_what_followed_the_last_time_is_guessed(text, number, following):
    assert Draft(text).following(number) == following
    read = Draft(text[:2])
    read.read(text[2:])
    assert read.following(number) == following


@pytest.mark.parametrize(
    ("came_true", "rows", "free", "number"),
    [
        (0.0, 8, 150, 0), (0.3, 8, 150, 1), (0.6, 8, 150, 3), (0.6, 64, 150, 1), (0.95, 8, 150, 7),
        (0.95, 64, 150, 7), (1.0, 2, 150, 7), (0.3, 1, 10, 1), (0.3, 8, 10, 0), (0.6, 8, 10, 1),
        (0.6, 64, 10, 0), (0.95, 8, 10, 7), (0.95, 64, 10, 1),
    ],
)  # fmt: skip
def test_more_is_guessed_where_guesses_come_true_and_reading_them_is_cheap(
    came_true, rows, free, number
):
    luck = Luck(free)
    for _ in range(100):
        luck.note(round(100 * came_true), round(100 * (1 - came_true)))
    assert luck.number(rows) == number


@pytest.mark.parametrize("free", [decoding.FREE, decoding.FREE_WITHOUT_TILES])
def test_luck_changes_with_the_text(free):
    """A batch whose guesses all fail, then come true, then fail: what is not guessed teaches
    nothing, so some guesses are made all the while.
    """
    luck = Luck(free)
    numbers = []
    for comes_true in [*[False] * 60, *[True] * 60, *[False] * 60]:
        number = luck.number(8)
        numbers.append(number)
        luck.note(8 * number * comes_true, 8 * (number > 0) * (not comes_true))
    failing, lucky, again = (numbers[end - LOOK : end] for end in (60, 120, 180))
    assert sorted(failing) == sorted(again) == [0] * (LOOK - 1) + [1]
    assert lucky == [7] * LOOK


@pytest.fixture
def looping(tiny):
    return wild(tiny, [FULL, FULL])


def steps_and_texts(model, tokenizer, monkeypatch, numbers) -> tuple[int, list[tuple[str, int]]]:
    monkeypatch.setattr(decoding, "GUESSES", numbers)
    for free in ("FREE", "FREE_WITHOUT_TILES"):  # as if tokens beside the first cost nothing
        monkeypatch.setattr(decoding, free, 10**6)
    passes: list[int] = []
    handle = decoder_and_head(model)[0].register_forward_pre_hook(
        lambda _module, _args, kwargs: passes.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    found = generate(
        model,
        Ids(),
        prompts_of(tokenizer, 1),
        stop_ids=frozenset(STOPS),
        max_new_tokens=NEW,
        batch_size=4,
        on_batch=lambda _: None,
    )
    handle.remove()
    return sum(tokens < 32 for tokens in passes), brief(found)


def test_guessing_takes_fewer_steps_to_the_same_texts(looping, tokenizer, monkeypatch):
    steps, texts = steps_and_texts(looping, tokenizer, monkeypatch, (0,))
    assert len(set(texts)) > 8
    for numbers in [(1,), (3,), (1, 3, 7)]:
        fewer, same = steps_and_texts(looping, tokenizer, monkeypatch, numbers)
        assert same == texts
        assert fewer < steps
        steps = fewer


def row_of(tokenizer, text: str) -> OpenText:
    [prompt] = prompts_of(tokenizer, 0, [text])
    return OpenText(prompt)


@pytest.mark.parametrize(
    ("guesses", "chosen", "written", "stop"),
    [
        ([], [B], [B], None),
        ([B, C, D], [B, C, D, A], [B, C, D, A], None),
        ([B, C, D], [B, C, A, A], [B, C, A], None),
        ([B, C, D], [A, C, D, A], [A], None),
        ([B, E, D], [B, E, D, A], [B, E], Stop.STOP_TOKEN),
        ([B, C], [B, E, E], [B, E], Stop.STOP_TOKEN),
        ([B, C, D, A, B, C], [B, C, D, A, B, C, D], [B, C, D, A, B], Stop.LENGTH),
    ],
)
def test_guesses_are_kept_as_far_as_the_model_chooses_them(
    tokenizer, guesses, chosen, written, stop
):
    rules = Rules(tokenizer=Ids(), stop_ids=frozenset({E}), max_new_tokens=5)
    row = row_of(tokenizer, "?")
    assert rules.write(row, guesses, chosen, [True] * len(chosen)) == len(written)
    assert (row.generated, row.stop) == (written, stop)


def test_a_guess_behind_broken_logits_is_not_looked_at(tokenizer):
    rules = Rules(tokenizer=Ids(), stop_ids=frozenset(), max_new_tokens=5)
    row = row_of(tokenizer, "?")
    assert rules.write(row, [B, C], [B, C, D], [True, False, True]) == 2
    assert (row.generated, row.stop) == ([B], Stop.FAILED)


def test_nothing_is_read_that_the_text_has_no_room_for(tokenizer):
    row = row_of(tokenizer, "ababab")
    length = len(row.prompt.ids)
    for written in range(5):
        row.generated = [row.prompt.ids[-1]] * written
        ids, position = row.newest(7, max_new_tokens=5)
        assert position == length + written - 1
        assert len(ids) <= 5 - written


def test_what_the_calculator_writes_next_is_known(tokenizer):
    row = row_of(tokenizer, "?")
    row.generated, row.forced = [A], [B, C, D]
    assert row.newest(2, max_new_tokens=9)[0] == [A, B, C]


def test_a_row_without_texts_disturbs_nobody(looping, tokenizer):
    """The last rows stop one by one: places stay empty beside texts that guess."""
    prompts = prompts_of(tokenizer, 0)
    alone = [
        generate(looping, Ids(), [prompt], stop_ids=frozenset(STOPS), max_new_tokens=NEW,
                 batch_size=1, on_batch=lambda _: None)[0]
        for prompt in prompts
    ]  # fmt: skip
    together = generate(looping, Ids(), prompts, stop_ids=frozenset(STOPS), max_new_tokens=NEW,
                        batch_size=9, on_batch=lambda _: None)  # fmt: skip
    assert torch.tensor([len(set(brief(alone)))]).item() > 8
    assert together == alone
