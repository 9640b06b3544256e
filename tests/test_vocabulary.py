"""Tokens without a row in the model's embedding are refused before any step."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, PromptConfig
from paribus.errors import ModelError
from paribus.evaluation.engine import likelihood
from paribus.planning.prepare import prepare
from paribus.prompts.encode import Encoded
from paribus.testing.tiny import tiny_tokenizer
from paribus.training.loss import CompletionLoss

ROWS = 262
"""Of the tiny model's embedding: as many as its tokenizer has tokens."""
DONE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}"
    "{{ '<done>' if m['role'] == 'assistant' else '' }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def arm(model, method="full", format="raw", also=()) -> ArmConfig:
    return ArmConfig(
        model=str(model),
        method=method,
        data=DataConfig(train_size=4, test_size=3, max_steps=1),
        prompt=PromptConfig(format=format, max_tokens=2000),
        evaluation=EvaluationConfig(also=also),
    )


@pytest.fixture
def changed(tiny, tmp_path):
    """Save the tiny model with a changed tokenizer, and as many rows as its config shall say."""

    def save(tokenizer, rows=ROWS):
        folder = shutil.copytree(tiny, tmp_path / "changed")
        tokenizer.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))
        return folder

    return save


def with_word(word: str):
    """A tokenizer that has got its own token."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([word])
    return tokenizer


def with_end(word: str):
    """A tokenizer that ends texts with what is in no model's vocabulary."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"eos_token": word})
    return tokenizer


def with_done():
    tokenizer = with_word("<done>")
    tokenizer.chat_template = DONE
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "options", "token"),
    [
        pytest.param(with_word("Question"), {}, "Question", id="in prompts"),
        pytest.param(with_word("Question"), {"method": "none"}, "Question", id="of a baseline"),
        pytest.param(with_word("####"), {}, "####", id="in solutions"),
        pytest.param(with_end("</s>"), {}, "</s>", id="that ends texts"),
        pytest.param(with_done(), {"format": "chat"}, "<done>", id="that ends turns"),
        pytest.param(with_done(), {"also": ("zero_shot/chat",)}, "<done>", id="of one protocol"),
    ],
)
def test_a_token_beyond_the_embedding_is_named(changed, tokenizer, options, token):
    folder = changed(tokenizer)
    with pytest.raises(ModelError) as told:
        prepare(arm(folder, **options), 0)
    assert f"no embedding: {ROWS} ({token!r}); the model has {ROWS} rows" in told.value.message
    assert "resize_token_embeddings" in told.value.remedy


def test_a_resized_model_and_a_token_that_is_not_used_are_taken(changed):
    assert prepare(arm(changed(with_word("Question"), rows=ROWS + 1)), 0).examples


def test_a_token_that_no_text_holds_does_no_harm(changed):
    assert prepare(arm(changed(with_word("nowhere"))), 0).examples


ENDS = [99999, -1, [1, 99999], ROWS]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        *(("config.json", ends) for ends in ENDS),
        *(("generation_config.json", ends) for ends in (*ENDS, "1", True, [[1]])),
    ],
)
def test_a_model_that_ends_texts_with_no_token_is_refused(changed, name, ends):
    file = changed(tiny_tokenizer()) / name
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": ends}))
    with pytest.raises(ModelError, match=f"{name}: eos_token_id holds .*from 0 to {ROWS - 1}"):
        prepare(arm(file.parent, method="none"), 0)


@pytest.mark.parametrize("ends", [None, 1, [], [1, ROWS - 1]])
def test_what_may_end_a_models_texts(changed, ends):
    file = changed(tiny_tokenizer()) / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": ends}))
    assert prepare(arm(file.parent, method="none"), 0).gold


V, D = 5000, 8  # a tile, and a piece of one
LABELS = [[V], [0, V], [V + 5000, 1], [-1], [3, -100]]


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("labels", LABELS)
def test_no_loss_is_told_of_a_label_outside_the_vocabulary(labels, trains):
    hidden = torch.zeros(len(labels), D, requires_grad=trains)
    loss = CompletionLoss(torch.zeros(V, D, requires_grad=trains), torch.float32)
    with pytest.raises(ModelError, match=f"{min(labels)} to {max(labels)} are to be predicted"):
        loss(hidden, torch.tensor(labels))


@pytest.mark.parametrize("labels", LABELS)
def test_nor_a_likelihood(labels, monkeypatch):
    """Of a head with fewer columns than the embedding has rows."""

    def decoder(input_ids, **_):
        return SimpleNamespace(last_hidden_state=torch.zeros(1, input_ids.shape[1], D))

    parts = decoder, nn.Linear(D, V, bias=False), None
    monkeypatch.setattr(likelihood, "decoder_and_head", lambda _: parts)
    example = Encoded(ids=(1, *labels), prompt_length=1)
    with pytest.raises(ModelError, match="the model has only 0 to 4999"):
        likelihood._negative_log_likelihoods(nn.Module(), [example])
