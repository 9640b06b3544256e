"""One optimizer step: its texts, its loss and gradients against transformers alone, its work."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3ForCausalLM

from paribus.prompts.encode import Encoded
from paribus.testing.tiny import write_tiny_model
from paribus.training.loss import CompletionLoss
from paribus.training.passes import IGNORED, collate
from training_cases import fit, trainable, word_problems


@pytest.fixture(scope="module")
def examples():
    return word_problems()


def test_collate_lays_texts_end_to_end_and_labels_completions():
    batch = collate([Encoded((2, 10, 11, 12, 1), 3), Encoded((2, 20, 0), 1)])
    x = IGNORED
    assert batch.pop("text_lengths") == (5, 3)
    assert {name: t.tolist() for name, t in batch.items() if name != "attention_mask"} == {
        "input_ids": [[2, 10, 11, 12, 1, 2, 20, 0]],
        "position_ids": [[0, 1, 2, 3, 4, 0, 1, 2]],
        "cu_seq_lens_q": [0, 5, 8],
        "labels": [[x, x, x, 12, 1, x, 20, 0]],
        "places": [2, 3, 5, 6],
    }


def plain(folder: Path, examples, mean_over: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients by transformers alone: its model, its loss, one text at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total = 0.0
    for example in examples:
        ids = torch.tensor([example.ids])
        labels = ids.clone()
        labels[:, : example.prompt_length] = -100
        loss = model(input_ids=ids, labels=labels).loss * example.target_length / mean_over
        loss.backward()
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters()}


def gradients_of_a_step(model, examples, **how) -> tuple[Any, dict[str, torch.Tensor]]:
    """The record of one optimizer step, and the gradients before they are clipped."""
    last = {}
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: last.update({name: p.grad.clone()})
        )
    (record,), _ = fit(model, examples, max_steps=1, batch_size=len(examples), **how)
    return record, last


def write_untied(folder: Path, tiny: Path) -> Path:
    """The tiny model with its own head."""
    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(tiny, tie_word_embeddings=False)
    Gemma3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("micro_batch", [4, 1], ids=["at-once", "one-by-one"])
@pytest.mark.parametrize("kind", ["tied", "untied", "softcap"])
def test_loss_and_gradients_of_a_step_are_those_of_hf(tmp_path, tiny, examples, kind, micro_batch):
    """All gradients are dense, the embedding's too, whether or not it is the head."""
    match kind:
        case "tied":
            folder = tiny
        case "untied":
            folder = write_untied(tmp_path, tiny)
        case "softcap":
            folder = write_tiny_model(tmp_path / "model", softcap=2.0)
    batch = examples[:4]
    loss, expected = plain(folder, batch, sum(example.target_length for example in batch))
    record, found = gradients_of_a_step(trainable(folder, "full"), batch, micro_batch=micro_batch)
    assert record.loss == pytest.approx(loss, rel=1e-6)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert record.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    assert found.keys() == expected.keys()
    assert ("lm_head.weight" in found) == (kind == "untied")
    for name, gradient in expected.items():
        assert found[name].layout is torch.strided
        assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_only_target_tokens_meet_the_head_and_no_token_is_padding(
    tiny, examples, monkeypatch, micro_batch
):
    rows, passes = [], []
    real = CompletionLoss._block

    def block(self, hidden_RD, head_VD, labels_R):
        rows.append(len(hidden_RD))
        return real(self, hidden_RD, head_VD, labels_R)

    monkeypatch.setattr(CompletionLoss, "_block", block)
    model = trainable(tiny, "full")
    model.get_decoder().layers[0].register_forward_pre_hook(
        lambda _layer, inputs: passes.append(tuple(inputs[0].shape))
    )
    records, _ = fit(model, examples, max_steps=3, micro_batch=micro_batch)
    assert len(passes) == 3 * 4 // micro_batch
    assert sum(rows) == sum(record.target_tokens for record in records)
    assert sum(shape[0] * shape[1] for shape in passes) == sum(r.tokens for r in records)
