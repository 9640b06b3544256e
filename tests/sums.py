"""A model that writes sums, for tests of the calculator."""

from paribus.evaluation.engine.generate import generate
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
