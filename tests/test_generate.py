"""Batched decoding against HF's `generate`, one prompt at a time, and every way to stop."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from decoding import (
    FULL,
    NEW,
    QUESTIONS,
    SLIDING,
    STOPS,
    Ids,
    brief,
    prompts_of,
    reference,
    run,
    wild,
)
from paribus.evaluation.engine import generate as module
from paribus.evaluation.engine.decoding import OpenText, Rules
from paribus.evaluation.engine.generate import measure
from paribus.evaluation.final import final
from paribus.models.load import decoder_and_head, for_inference
from paribus.records import Stop

CASES = json.loads((Path(__file__).parent / "cases" / "answers.json").read_text("utf-8"))
WINDOW = 48


@pytest.fixture(scope="module")
def model(tiny):
    return wild(tiny, [SLIDING, FULL])


@pytest.fixture
def forwards(model, monkeypatch):
    """Shapes [rows, tokens] of every call of the decoder stack."""
    shapes = []
    stack = decoder_and_head(model)[0]
    handle = stack.register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    yield shapes
    handle.remove()


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize(
    "layer_types", [[SLIDING, FULL], [FULL, FULL], [SLIDING, SLIDING]], ids=str
)
def test_every_row_is_what_hf_generates_alone(tiny, tokenizer, layer_types, shots):
    model = wild(tiny, layer_types)
    prompts = prompts_of(tokenizer, shots)
    assert max(len(prompt.ids) for prompt in prompts) > WINDOW + shots * 100
    expected = reference(model, prompts)
    assert len(set(expected)) > 8
    assert {length == NEW for _, length in expected} == {True, False}
    for batch_size in (1, 3, 10):
        found = run(model, Ids(), prompts, stops=STOPS, batch_size=batch_size)
        assert brief(found) == expected


def test_a_window_without_kinds_of_layers_is_every_layers(tokenizer):
    """Mistral's config: a sliding_window, and no layer_types."""
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=16,
        initializer_range=0.3,
    )
    assert not hasattr(config, "layer_types")
    torch.manual_seed(3)
    model = for_inference(MistralForCausalLM(config), torch.float32)
    prompts = prompts_of(tokenizer, 0)
    assert max(len(prompt.ids) for prompt in prompts) > 16
    assert brief(run(model, Ids(), prompts, stops=STOPS)) == reference(model, prompts)


def test_the_shared_prefix_changes_no_text(model, tokenizer, monkeypatch):
    prompts = prompts_of(tokenizer, 1)
    with_prefix = brief(run(model, Ids(), prompts))
    assert brief([run(model, Ids(), [prompt])[0] for prompt in prompts]) == with_prefix
    monkeypatch.setattr(module, "shared_length", lambda _sequences: 0)
    assert brief(run(model, Ids(), prompts)) == with_prefix


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        ([(1, 2, 3)], 2),
        ([(1, 2, 3), (1, 2, 4)], 2),
        ([(1, 2), (1, 2, 3, 4)], 1),
        ([(1, 2, 3), (1, 2, 3)], 2),
        ([(1, 9), (1, 2, 3), (1, 5)], 1),
        ([(1,), (2,)], 0),
        ([(5, 6), (6, 5)], 0),
    ],
)
def test_shared_length_leaves_each_prompt_a_token(sequences, length):
    assert module.shared_length(sequences) == length


def test_the_prefix_is_computed_once_and_stopped_rows_leave(model, tokenizer, forwards):
    prompts = prompts_of(tokenizer, 1)
    shared = module.shared_length([prompt.ids for prompt in prompts])
    done = []
    found = run(model, Ids(), prompts, stops=STOPS, batch_size=4, on_batch=done.append)
    assert done == sorted(set(done))
    assert done[-1] == 10
    assert shared > 100
    assert forwards[0] == (1, shared)
    wide = [shape for shape in forwards[1:] if shape[1] >= 32]
    assert wide[0][0] > 1
    assert all(length % 32 == 0 for _, length in wide)
    # All but the last token of each prompt, and no prompt twice.
    own = [len(prompt.ids) - shared - 1 for prompt in prompts]
    assert sum(rows for rows, _ in wide) == sum(length > 0 for length in own)
    # Each is as long as its chunk's longest, rounded up; "x" * 60 has shorter neighbours.
    padding = sum(rows * length for rows, length in wide) - sum(own)
    assert 0 <= padding < 32 * len(own) + 3 * 60
    # At batch 4 a place that gets free is taken at once. In the end sizes are 4, 2, 1.
    steps = [rows for rows, length in forwards[1:] if length < 32]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 4
    tokens, longest = (each(g.num_tokens for g in found) for each in (sum, max))
    assert sum(steps) <= tokens + longest
    assert tokens <= sum(rows * length for rows, length in forwards[1:] if length < 32)
    assert len({g.num_tokens for g in found}) > 3


def test_generations_say_what_was_asked(model, tokenizer):
    prompts = prompts_of(tokenizer, 0)
    found, cost = measure(lambda: run(model, tokenizer, prompts, new=3), torch.device("cpu"))
    for prompt, generation in zip(prompts, found, strict=True):
        assert generation.problem_id == prompt.problem.id
        assert (generation.question, generation.answer) == (prompt.problem.question, "4")
        assert generation.prompt_sha256 == hashlib.sha256(prompt.text.encode()).hexdigest()
        assert (generation.num_tokens, generation.stop) == (3, Stop.LENGTH)
    assert (cost.problems, cost.generated_tokens) == (10, 30)
    assert cost.problems_per_second == pytest.approx(10 / cost.seconds)


ENDINGS = {  # question: what the model is taught to write, what is kept of it, tokens, why it ends
    "one": (" 3+4.\n#### 7<eos>", " 3+4.\n#### 7", 13, Stop.STOP_TOKEN),
    "two": (" #### 12\n\nQuestion: Who", " #### 12\n\nQuestion:", 19, Stop.NEXT_QUESTION),
    "three": (" I know.\nQuestion: Who is", " I know.\nQuestion: W", 20, Stop.LENGTH),
    "four": (" Let me count: 1 2 3 4 5", " Let me count: 1 2 3", 20, Stop.LENGTH),
}


def test_a_taught_model_stops_for_every_reason(tiny, tokenizer):
    """The real path, from text to text: a tiny model learns four endings by heart."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    prompts = prompts_of(tokenizer, 0, list(ENDINGS))
    rows = [
        torch.tensor([*prompt.ids, *tokenizer.encode(taught, add_special_tokens=False)])
        for prompt, (taught, *_) in zip(prompts, ENDINGS.values(), strict=True)
    ]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    labels = batch.masked_fill(batch == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(150):
        model(batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for_inference(model, torch.float32)
    eos = tokenizer.eos_token_id
    found = run(model, tokenizer, prompts, stops=[eos], new=20, batch_size=3)
    kept = [(each.text, each.num_tokens, each.stop) for each in found]
    assert kept == [ending[1:] for ending in ENDINGS.values()]


@pytest.mark.parametrize(
    ("written", "kept", "stop"),
    [
        ("#### 12\nNo, it is\n#### 13\n", "#### 12\nNo, it is\n#### 13\n", None),
        ("#### 12 million\nQuestion: Tom", "#### 12 million\nQuestion:", Stop.NEXT_QUESTION),
        ("The answer is 12.\nQuestion: Tom", "The answer is 12.\nQuestion:", Stop.NEXT_QUESTION),
        ("<think>#### 12\nQuestion: Tom", "<think>#### 12\nQuestion: Tom", None),
        ("#### Step 1\nQuestion: Tom", "#### Step 1\nQuestion: Tom", None),
        ("Question: So #### 12", "Question: So #### 12", None),
        ("#### twelve\n", "#### twelve\n", None),
        ("#### 12<eos>", "#### 12", Stop.STOP_TOKEN),
        ("#### twelve<eos>more", "#### twelve", Stop.STOP_TOKEN),
        ("<eos>", "", Stop.STOP_TOKEN),
        ("12.\n\nQuestion: Tom", "12.\n\nQuestion:", Stop.NEXT_QUESTION),
        ("So twelve.\n\nQuestion: Tom", "So twelve.\n\nQuestion: Tom", None),
        ("A question: 7. Question", "A question: 7. Question", None),
        ("the answer is 12.\n", "the answer is 12.\n", None),
    ],
)
def test_stop_rules(tokenizer, written, kept, stop):
    """Token by token, as the model would write it: byte by byte."""
    row = OpenText(prompts_of(tokenizer, 0)[0])
    rules = Rules(
        tokenizer=tokenizer, stop_ids=frozenset({tokenizer.eos_token_id}), max_new_tokens=99
    )
    for token in tokenizer.encode(written, add_special_tokens=False):
        assert row.stop is None
        rules.advance(row, token, finite=True)
        if row.stop is not None:
            break
    assert row.stop is stop
    assert rules.text(row.generated) == kept


@pytest.mark.parametrize(
    ("until", "written", "kept", "stop"),
    [
        (("\n",), " refund\nMessage: x", " refund\n", Stop.UNTIL),
        (("\n\n", "</a>"), "one\ntwo</a>three", "one\ntwo</a>", Stop.UNTIL),
        (("STOP",), "#### 12\nQuestion: Tom", "#### 12\nQuestion: Tom", None),
        (("\n",), "refund<eos>\n", "refund", Stop.STOP_TOKEN),
        ((), "12\nQuestion: Tom", "12\nQuestion: Tom", None),
    ],
)
def test_texts_that_end_an_answer_end_it(tokenizer, until, written, kept, stop):
    row = OpenText(prompts_of(tokenizer, 0)[0])
    ends = frozenset({tokenizer.eos_token_id})
    rules = Rules(tokenizer=tokenizer, stop_ids=ends, max_new_tokens=99, until=until)
    for token in tokenizer.encode(written, add_special_tokens=False):
        if row.stop is None:
            rules.advance(row, token, finite=True)
    assert row.stop is stop
    assert rules.text(row.generated) == kept


def test_a_stored_text_scores_as_the_whole_text(tokenizer):
    """Token by token: no case of the table is stopped before its answer is settled."""
    prompt = prompts_of(tokenizer, 0)[0]
    rules = Rules(tokenizer=tokenizer, stop_ids=frozenset(), max_new_tokens=10**6)
    stopped = 0
    for case in CASES:
        row, ids = OpenText(prompt), tokenizer.encode(case["text"], add_special_tokens=False)
        for token in ids:
            if row.stop is None:
                rules.advance(row, token, finite=True)
        whole, stored = rules.text(ids), rules.text(row.generated)
        stopped += stored != whole
        question = prompt.problem.question
        assert final(stored, question) == final(whole, question), case["text"]
    assert stopped > 5


def test_a_row_without_a_distribution_fails_and_takes_no_other_along(model, tokenizer, tiny):
    """The letter Z is not a number to this model; its head is whole."""
    broken = wild(tiny, [SLIDING, FULL])
    broken.get_input_embeddings().weight[tokenizer.encode("Z", add_special_tokens=False)] = float(
        "nan"
    )
    prompts = prompts_of(tokenizer, 1)
    healthy = run(model, Ids(), prompts, stops=tokenizer.encode("Z", add_special_tokens=False))
    found = run(broken, Ids(), prompts, stops=tokenizer.encode("Z", add_special_tokens=False))
    zoe = QUESTIONS.index("Zoe!")
    assert (found[zoe].text, found[zoe].num_tokens, found[zoe].stop) == ("", 0, Stop.FAILED)
    del found[zoe], healthy[zoe]
    assert found == healthy
