"""Held-out likelihood: what transformers' own loss says, for any batch size, and never a NaN."""

import math

import pytest
import torch
from transformers import AutoConfig, Gemma3ForCausalLM

from paribus.data import wordproblems
from paribus.evaluation.engine.likelihood import choose, likelihoods, measure_likelihoods
from paribus.models.load import for_inference
from paribus.prompts.encode import Encoded, Prompt, encode_examples, encode_prompts
from paribus.prompts.formats import render_example, render_prompt
from paribus.records import Generation, Likelihood, Problem, Stop


@pytest.fixture(scope="module")
def examples(tokenizer) -> list[Encoded]:
    """Nine problems, one of them behind a shot: longer than the sliding window of 48."""
    train, test = wordproblems.generate_problems(
        seed=2, train_size=1, test_size=9, variant="socratic", steps=(1, 3)
    )
    rendered = [
        render_example(
            problem,
            format="raw",
            shots=train if number == 4 else (),
            tokenizer=tokenizer,
        )
        for number, problem in enumerate(test)
    ]
    prompts, solutions = zip(*rendered, strict=True)
    return encode_examples(prompts, solutions, tokenizer.eos_token_id, tokenizer)


def model_of(tiny, softcap: float | None = None, precision: torch.dtype = torch.float32):
    """Untied large random weights, so that each likelihood depends on all that is attended to."""
    config = AutoConfig.from_pretrained(tiny)
    config.tie_word_embeddings = False
    config.final_logit_softcapping = softcap
    torch.manual_seed(3)
    model = Gemma3ForCausalLM(config)
    for name, weight in model.named_parameters():
        if "proj" in name or "lm_head" in name:
            weight.data *= 10
    return for_inference(model, precision)


def found(model, examples, batch_size: int, on_batch=lambda _: None) -> list[Likelihood]:
    ids = [f"id-{number}" for number in range(len(examples))]
    return likelihoods(model, examples, ids, batch_size=batch_size, on_batch=on_batch)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_the_loss_is_that_of_transformers(tiny, examples, softcap):
    model = model_of(tiny, softcap)
    for example, each in zip(examples, found(model, examples, 4), strict=True):
        ids = torch.tensor([example.ids])
        labels = ids.clone()
        labels[:, : example.prompt_length] = -100
        with torch.inference_mode():
            expected = float(model(input_ids=ids, labels=labels).loss)
        assert each.tokens == example.target_length
        assert each.nll / each.tokens == pytest.approx(expected, abs=1e-5)
    assert max(each.nll / each.tokens for each in found(model, examples, 4)) > 2


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_have_no_influence_and_keep_the_order(tiny, examples, batch_size):
    model, done = model_of(tiny), []
    alone = found(model, examples, 1)
    batched = found(model, examples, batch_size, done.append)
    assert [each.problem_id for each in batched] == [f"id-{n}" for n in range(9)]
    assert [each.nll for each in batched] == pytest.approx([each.nll for each in alone], rel=1e-5)
    assert (done[-1], len(done)) == (9, math.ceil(9 / batch_size))


def test_in_bf16_it_is_about_the_same(tiny, examples):
    exact = [each.nll for each in found(model_of(tiny), examples, 3)]
    rounded = [each.nll for each in found(model_of(tiny, None, torch.bfloat16), examples, 3)]
    assert rounded == pytest.approx(exact, rel=0.05)
    assert rounded != exact


def test_what_is_no_number_is_none_and_so_is_the_mean(tiny, examples):
    model = model_of(tiny)
    model.get_output_embeddings().weight.data[0, 0] = float("nan")
    rows, figures = measure_likelihoods(lambda: found(model, examples, 3))
    assert [each.nll for each in rows] == [None] * 9
    assert (figures.undefined, figures.nll_per_token) == (9, None)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(6.0, 3), (1.0, 4)], {"undefined": 0, "nll_per_token": 1.0, "nll_per_problem": 3.5}),
        ([(6.0, 3), (None, 4)], {"undefined": 1, "nll_per_token": None, "nll_per_problem": None}),
        ([(None, 4)], {"undefined": 1, "nll_per_token": None, "nll_per_problem": None}),
    ],
)
def test_the_summary(rows, expected):
    made = [Likelihood(problem_id="x", nll=nll, tokens=tokens) for nll, tokens in rows]
    kept, figures = measure_likelihoods(lambda: made)
    assert kept == made
    assert figures.seconds >= 0
    assert expected.items() <= figures.record().items()
    assert figures.tokens == sum(tokens for _, tokens in rows)
    assert figures.problems == len(rows)


def chosen(model, tokenizer, batch_size: int, on_batch=lambda _: None) -> list[Generation]:
    """What a model chooses of 2 to 4 choices, of lengths from 1 to 12 bytes."""
    prompts, choices = [], []
    for number, texts in enumerate(CHOICES):
        problem = Problem(question=f"{number}?", solution=texts[0], answer=texts[0], choices=texts)
        text = render_prompt(problem, format="raw", shots=(), tokenizer=tokenizer)
        (ids,) = encode_prompts([text], tokenizer)
        prompts.append(Prompt(problem=problem, text=text, ids=ids))
        stop = tokenizer.eos_token_id
        with_stop = encode_examples(
            [text] * len(texts), [f" {choice}" for choice in texts], stop, tokenizer
        )
        choices.append(tuple(Encoded(e.ids[:-1], e.prompt_length) for e in with_stop))
    return choose(model, prompts, choices, batch_size=batch_size, on_batch=on_batch)


CHOICES = [
    ("a", "b"),
    ("red", "green", "dark blue"),
    ("1", "22", "333", "4444 and some"),
    ("x", "y"),
]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_likeliest_choice_is_that_of_transformers(tiny, tokenizer, batch_size):
    model, done = model_of(tiny), []
    found = chosen(model, tokenizer, batch_size, done.append)
    for generation, texts in zip(found, CHOICES, strict=True):
        prompt = f"Question: {generation.question}\nAnswer:"
        expected = [nll_of(model, tokenizer, prompt, f" {choice}") for choice in texts]
        assert generation.choice_nlls == pytest.approx(expected, abs=1e-4)
        assert generation.text == texts[expected.index(min(expected))]
        assert generation.choices == texts
    assert len({generation.text for generation in found}) == len(CHOICES)
    assert done[-1] <= len(CHOICES)


def nll_of(model, tokenizer, prompt: str, text: str) -> float:
    head = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    tail = tokenizer.encode(text, add_special_tokens=False)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return -float(sum(logits[len(head) - 1 + at, id] for at, id in enumerate(tail)))


def test_choices_without_a_likelihood_fail(tiny, tokenizer):
    model = model_of(tiny)
    model.get_output_embeddings().weight.data[0, 0] = float("nan")
    for generation in chosen(model, tokenizer, 3):
        assert (generation.stop, generation.text, generation.choice_nlls) == (Stop.FAILED, "", ())
