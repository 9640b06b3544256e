"""A model that writes sums, for tests of the calculator."""

import torch
from transformers import AutoModelForCausalLM

from paribus.evaluation.engine.generate import generate
from paribus.models.load import for_inference
from paribus.prompts.encode import Prompt, encode_prompts
from paribus.records import Generation, Problem

SUMS = {  # question: what the model is taught to write; its sums are wrong, or no sums
    "5?": " 6*7=<<6*7=40>>40.\n#### 40<eos>",
    "6?": " <<1+1=3>>3 <<2-9=7>>7<eos>",
    "7 8 9?": " <<x+1=5>> 6*7=5<eos>",
    "10?": " <<1/8=8>>8<eos>",
}


def prompt_of(question: str, tokenizer) -> Prompt:
    problem = Problem(question=question, solution="#### 4", answer="4")
    (ids,) = encode_prompts([question], tokenizer)
    return Prompt(problem=problem, text=question, ids=ids)


def written(model, tokenizer, *, calculator: bool, batch_size=4, new=60) -> list[Generation]:
    return generate(
        model,
        tokenizer,
        [prompt_of(question, tokenizer) for question in SUMS],
        stop_ids=frozenset({tokenizer.eos_token_id}),
        max_new_tokens=new,
        batch_size=batch_size,
        on_batch=lambda _done: None,
        calculator=calculator,
    )


def teach(tiny, tokenizer):
    """A tiny model that has learnt SUMS by heart, in fp32."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    rows = [
        torch.tensor([*ids, *tokenizer.encode(text, add_special_tokens=False)])
        for ids, text in zip(encode_prompts(list(SUMS), tokenizer), SUMS.values(), strict=True)
    ]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    labels = batch.masked_fill(batch == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        model(batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return for_inference(model, torch.float32)
