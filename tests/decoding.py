"""Tiny models, prompts and a slow decoder to compare with."""

import torch
from transformers import (
    AutoConfig,
    Gemma3ForCausalLM,
)

from paribus.evaluation.engine.generate import generate
from paribus.models.load import for_inference
from paribus.prompts.encode import Prompt, encode_prompts
from paribus.prompts.formats import render_prompt
from paribus.records import Generation, Problem

SLIDING, FULL = "sliding_attention", "full_attention"
NEW = 40
STOPS = range(11, 262, 18)  # some rows stop early, each on its own step
SHOT = Problem(
    question="Mia has 12 pens and buys 3 more pens at the farm. How many pens has Mia now?",
    solution="Mia has 12+3=<<12+3=15>>15 pens.\n#### 15",
    answer="15",
)
QUESTIONS = ["?", "Tom has 3 pens.", "A", "How many are 2 and 2?", "x" * 60, "Ben runs.",
             "Ivy reads 10 books a week. How many in a year?", "Who?", "Zoe!", "1+1"]  # fmt: skip


class Ids:
    """Spells every id as a number: unlike text, that loses nothing."""

    def decode(self, ids, **_unused) -> str:
        return " ".join(map(str, ids))


def prompts_of(tokenizer, shots: int, questions=QUESTIONS) -> list[Prompt]:
    made = []
    for question in questions:
        problem = Problem(question=question, solution="#### 4", answer="4")
        text = render_prompt(problem, format="raw", shots=[SHOT] * shots, tokenizer=tokenizer)
        (ids,) = encode_prompts([text], tokenizer)
        made.append(Prompt(problem=problem, text=text, ids=ids))
    return made


def wild(tiny, layer_types):
    """A model whose large random weights make each token depend on all it may attend to."""
    config = AutoConfig.from_pretrained(tiny)
    config.layer_types = layer_types
    config.tie_word_embeddings = False  # tied, a random model repeats itself
    torch.manual_seed(3)
    model = Gemma3ForCausalLM(config)
    for name, weight in model.named_parameters():
        if "proj" in name:
            weight.data *= 15
    return for_inference(model, torch.float32)


def run(model, tokenizer, prompts, *, stops=(), batch_size=8, new=NEW, on_batch=lambda _: None):
    return generate(
        model,
        tokenizer,
        prompts,
        stop_ids=frozenset(stops),
        max_new_tokens=new,
        batch_size=batch_size,
        on_batch=on_batch,
    )


def reference(model, prompts) -> list[tuple[str, int]]:
    """Text and number of tokens by HF's own loop and cache, without batches."""
    rows = []
    for prompt in prompts:
        ids = torch.tensor([prompt.ids])
        whole = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=list(STOPS),
            pad_token_id=0,
        )
        new = whole[0, ids.shape[1] :].tolist()
        rows.append((Ids().decode(new[:-1] if new[-1] in STOPS else new), len(new)))
    return rows


def brief(generations: list[Generation]) -> list[tuple[str, int]]:
    return [(generation.text, generation.num_tokens) for generation in generations]
