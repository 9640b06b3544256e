"""What the cards on model families and templates say is still true of the installed libraries.

A test that fails here says that a card must be rewritten or dropped.
"""

from datetime import datetime
from typing import Any

import pytest
import torch
from torch import nn

from facts import facts
from families import FAMILIES, tiny
from paribus.evaluation.engine.generate import generate
from paribus.models.load import decoder_and_head
from paribus.planning.rules.card import Facts
from paribus.planning.rules.families import RULES
from paribus.prompts.encode import Prompt
from paribus.prompts.formats import render_prompt
from paribus.records import Problem
from paribus.testing.tiny import tiny_tokenizer
from paribus.training.loss import CompletionLoss


def layers_missing(facts: Facts) -> str | None:
    """What PB032 finds."""
    check = next(rule.check for rule in RULES if rule.id == "PB032")
    assert check is not None
    return check(facts)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_of_a_family_are_what_the_card_says(family: str) -> None:
    """PB032 fires if and only if `models/load` would refuse the default names."""
    with torch.device("meta"):
        model = tiny(family)
    there = {
        name.rpartition(".")[2] for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }  # fmt: skip
    known = facts(shape=None, tokens={"model_type": family})
    missing = sorted(set(known.config.lora.targets) - there)
    said = layers_missing(known)
    assert (said is not None) is bool(missing)
    if said is not None:
        there -= {"lm_head", "embed_out", "router", "gate"}
        have = ", ".join(sorted(there)) or "none"
        assert said == f"{family} has no {', '.join(missing)}; it has {have}"


@pytest.mark.parametrize(
    ("family", "changes", "agree"),
    [
        ("llama", {}, True),
        ("granite", {"logits_scaling": 1.0}, True),
        ("granite", {"logits_scaling": 8.0}, False),
        ("cohere", {}, False),
    ],
)
def test_the_loss_of_a_family_is_its_own_or_the_card_says_so(
    family: str, changes: dict[str, Any], agree: bool
) -> None:
    model: Any = tiny(family, **changes)
    ids = torch.tensor([[2, 60, 61, 62, 63, 64]])
    decoder, head, softcap = decoder_and_head(model)
    hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state[0, :-1]
    ours = CompletionLoss(head.weight, torch.float32, softcap)(hidden, ids[0, 1:], 5)
    own = model(input_ids=ids, labels=ids).loss
    assert torch.isclose(ours, own, rtol=1e-4) == agree


@pytest.mark.parametrize("family", ["mamba", "qwen3_next"])
def test_a_family_that_the_card_says_cannot_be_decoded_cannot(family: str) -> None:
    tokenizer = tiny_tokenizer()
    problem = Problem(question="1+1?", solution="#### 2", answer="2")
    prompt = Prompt(
        problem=problem, text="1+1?", ids=(2, *tokenizer.encode("1+1?", add_special_tokens=False))
    )
    with pytest.raises(KeyError):
        generate(
            tiny(family),
            tokenizer,
            [prompt],
            stop_ids=frozenset(),
            max_new_tokens=2,
            batch_size=1,
            on_batch=lambda _done: None,
        )


def test_a_date_in_the_template_is_in_the_prompt() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{{ strftime_now('%Y') }} {% for m in messages %}{{ m['content'] }}<eos>{% endfor %}"
    )
    problem = Problem(question="1+1?", solution="2", answer="2")
    prompt = render_prompt(problem, format="chat", shots=(), tokenizer=tokenizer)
    assert prompt == f"{datetime.now().year} 1+1?<eos>"  # noqa: DTZ005  # as transformers asks it
