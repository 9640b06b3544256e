"""What the rules need to know of an arm's tokenizer and texts, from its inputs."""

import re
from typing import Any

from paribus.config.schema import ArmConfig
from paribus.data.alike import about_alike
from paribus.files import read_json
from paribus.planning.inputs import Inputs
from paribus.planning.rules.card import TokenFacts
from paribus.prompts.encode import leading_bos

_WORD = re.compile(r"[A-Za-z]{4,}")
_LOOKED_AT, _ENOUGH_WORDS = 100, 20
_TUNED = re.compile(r"(^|[-_/.])(it|instruct|chat)($|[-_/.])", re.IGNORECASE)


def token_facts(inputs: Inputs, config: ArmConfig) -> TokenFacts:
    """Return the facts about what `inputs` of an arm with `config` hold."""
    tokenizer, counts = inputs.tokenizer, inputs.tokens()
    return TokenFacts(
        bos=leading_bos(tokenizer),
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        stop=inputs.prompt_sets[0].stop,
        model_eos=_model_eos(inputs),
        chat_template=bool(tokenizer.chat_template),
        instruction_tuned=bool(_TUNED.search(config.model)),
        train_examples=counts.train_examples,
        dropped=counts.train_dropped_too_long,
        longest_example=counts.longest_example,
        longest_prompt=counts.longest_prompt,
        median_target=counts.median_target,
        longest_gold=max(example.target_length for example in inputs.gold),
        overlap=counts.train_test_overlap,
        model_type=str(read_json(inputs.source.path / "config.json").get("model_type") or ""),
        template_dates="strftime_now" in str(tokenizer.chat_template or ""),
        vocabulary=len(tokenizer),
        letters_per_token=_letters_per_token(inputs),
        alike=_alike(inputs, config),
    )


def _alike(inputs: Inputs, config: ArmConfig) -> str:
    """Say how alike the tested problems are. Those generated are independent: `data.alike`."""
    if config.data.source == "wordproblems":
        return ""
    asked = inputs.tested
    return about_alike(tuple(each.question for each in asked), tuple(each.group for each in asked))


def _letters_per_token(inputs: Inputs) -> float | None:
    """Return how long the tokens are that the texts' words become: figures do not count."""
    solved = (*inputs.problems.train[:_LOOKED_AT], *inputs.tested[:_LOOKED_AT])
    texts = [text for each in solved for text in (each.question, each.solution)]
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    if len(words) < _ENOUGH_WORDS:
        return None
    found = inputs.tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return sum(map(len, words)) / sum(map(len, found))


def _model_eos(inputs: Inputs) -> tuple[int, ...]:
    path = inputs.source.path / "generation_config.json"
    found: Any = read_json(path).get("eos_token_id") if path.exists() else None
    return tuple(found) if isinstance(found, list) else () if found is None else (found,)
