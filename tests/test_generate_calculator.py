"""The calculator at decode time: what it writes, that models continue behind it, any batch size."""

import pytest

from paribus.evaluation.engine.decoding import OpenText, Rules
from paribus.evaluation.mistakes import annotated_steps
from paribus.records import Stop
from paribus.testing.tiny import tiny_tokenizer
from sums import SUMS, prompt_of, written


def rules_of(tokenizer, stop_ids=frozenset()) -> Rules:
    return Rules(tokenizer=tokenizer, stop_ids=stop_ids, max_new_tokens=999, calculator=True)


def test_without_the_calculator_a_model_writes_its_own_sums(taught, tokenizer):
    found = written(taught, tokenizer, calculator=False)
    assert [each.text + "<eos>" for each in found] == list(SUMS.values())


def test_the_calculator_writes_results_and_the_model_goes_on(taught, tokenizer):
    found = written(taught, tokenizer, calculator=True)
    starts = [" 6*7=<<6*7=42>>", " <<1+1=2>>", " <<x+1=5>> 6*7=5", " <<1/8=0.125>>"]
    for each, start in zip(found, starts, strict=True):
        assert each.text.startswith(start)
        assert all(step.consistent is not False for step in annotated_steps(each.text))
    assert [len(each.text) > len(start) for each, start in zip(found, starts, strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_with_the_calculator_too_the_batch_size_changes_nothing(taught, tokenizer, batch_size):
    together = written(taught, tokenizer, calculator=True)
    assert written(taught, tokenizer, calculator=True, batch_size=batch_size) == together


def test_forced_tokens_count_towards_the_limit(taught, tokenizer):
    whole = " <<1/8=0.125>>"
    for new in range(len(" <<1/8="), len(whole) + 1):
        cut = written(taught, tokenizer, calculator=True, new=new)[3]
        assert (cut.text, cut.num_tokens, cut.stop) == (whole[:new], new, Stop.LENGTH)


@pytest.mark.parametrize(
    ("merges", "before", "chosen", "text"),
    [
        ((), "12*3=<<12*3=", "zzzzzz", "12*3=<<12*3=36>>zz"),
        ((), "<<" + "1+" * 99 + "1=", "zzzzzzz", "<<" + "1+" * 99 + "1=100>>zz"),
        ((), "<<12*x=", "zz", "<<12*x=zz"),
        ((), "<<1/0=", "zz", "<<1/0=zz"),
        ((), "12*3=", "zz", "12*3=zz"),
        ((), "<<7-7=", "<eos>", "<<7-7=0"),
        ((("=", "3"),), "<<12*3=", "zzzzz", "<<12*3=36>>z"),
        ((("3", "6"), (">", ">")), "<<12*3=", "zzz", "<<12*3=36>>z"),
    ],
)
def test_while_tokens_are_forced_the_models_choice_is_of_no_account(merges, before, chosen, text):
    tokenizer = tiny_tokenizer(merges)
    rules = rules_of(tokenizer, frozenset({tokenizer.eos_token_id}))
    row = OpenText(prompt_of("5?", tokenizer))
    for token in [
        *tokenizer.encode(before, add_special_tokens=False),
        *tokenizer.encode(chosen, add_special_tokens=False),
    ]:
        rules.advance(row, token, finite=True)
    assert rules.text(row.generated) == text
    assert row.stop is None


def test_a_broken_distribution_fails_a_row_within_a_result(tokenizer):
    row = OpenText(
        prompt_of("5?", tokenizer),
        generated=tokenizer.encode("<<12*3=", add_special_tokens=False),
        forced=[5, 6],
    )
    rules_of(tokenizer).advance(row, 7, finite=False)
    assert row.stop is Stop.FAILED
