"""Rules about tokenizers, chat templates and the texts of a data set.

    PB025   the chat template of meta-llama/Llama-3.2-1B-Instruct asks for today's date

What cannot happen needs no rule. `prompts/encode` proves one <bos>, no token across the boundary of
prompt and solution, and the stop token at the end; `prompts/chat` that a template leaves nothing
out and ends a turn with one token; `planning/inputs` that the model has an embedding for every
token. Training truncates nothing and pads nothing, so a padding token that equals the stop token
does no harm.
"""

import re
from typing import Any

from paribus.config.schema import ArmConfig
from paribus.data.alike import about_alike
from paribus.files import read_json
from paribus.planning.inputs import Inputs
from paribus.planning.rules.card import Facts, Rule, Severity, TokenFacts
from paribus.prompts.chat import assistant_turn
from paribus.prompts.encode import leading_bos
from paribus.prompts.formats import protocols

_WORD = re.compile(r"[A-Za-z]{4,}")
_LOOKED_AT, _ENOUGH_WORDS = 100, 20
_TUNED = re.compile(r"(^|[-_/.])(it|instruct|chat)($|[-_/.])", re.IGNORECASE)


def token_facts(inputs: Inputs, config: ArmConfig) -> TokenFacts:
    """Return the facts about what `inputs` of an arm with `config` hold."""
    tokenizer, counts = inputs.tokenizer, inputs.tokens()
    return TokenFacts(
        bos=leading_bos(tokenizer),
        stop=inputs.prompt_sets[0].stop,
        model_eos=_model_eos(inputs),
        chat_template=bool(tokenizer.chat_template),
        instruction_tuned=bool(_TUNED.search(config.model)),
        train_examples=counts.train_examples,
        dropped=counts.train_dropped_too_long,
        longest_example=counts.longest_example,
        longest_prompt=counts.longest_prompt,
        longest_gold=max(example.target_length for example in inputs.gold),
        overlap=counts.train_test_overlap,
        model_type=str(read_json(inputs.source.path / "config.json").get("model_type") or ""),
        template_dates="strftime_now" in str(tokenizer.chat_template or ""),
        unused=assistant_turn(tokenizer).unused if _chats(config) else "",
        vocabulary=len(tokenizer),
        letters_per_token=_letters_per_token(inputs),
        alike=_alike(inputs, config),
    )


def _alike(inputs: Inputs, config: ArmConfig) -> str:
    """Say how alike the tested problems are. Those generated are independent: `data.alike`."""
    if config.task.generated:
        return ""
    asked = inputs.tested
    return about_alike(
        tuple(problem.question for problem in asked), tuple(problem.group for problem in asked)
    )


def _letters_per_token(inputs: Inputs) -> float | None:
    """Return how long the tokens are that the texts' words become: figures do not count."""
    solved = (*inputs.problems.train[:_LOOKED_AT], *inputs.tested[:_LOOKED_AT])
    texts = [text for problem in solved for text in (problem.question, problem.solution)]
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    if len(words) < _ENOUGH_WORDS:
        return None
    tokens = inputs.tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return sum(map(len, words)) / sum(map(len, tokens))


def _model_eos(inputs: Inputs) -> tuple[int, ...]:
    path = inputs.source.path / "generation_config.json"
    eos: Any = read_json(path).get("eos_token_id") if path.exists() else None
    return tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,)


_OF_BYTES = 1000
"""A vocabulary of fewer tokens is one of bytes or characters, made for it."""

_SHORTEST = 1.5
"""Letters of a token of a word. GSM8K's words: 5.9 by Gemma's tokenizer, 0.9 by a broken one."""


def _chats(config: ArmConfig) -> bool:
    """Return whether any of the arm's protocols uses the chat template."""
    return any(protocol.format == "chat" for protocol in protocols(config))


def _dated_prompt(facts: Facts) -> str | None:
    if facts.tokens is None or not facts.tokens.template_dates or not _chats(facts.config):
        return None
    return f"the chat template of {facts.config.model} asks for today's date"


def _shorter_prompt(facts: Facts) -> str | None:
    if facts.tokens is None or not facts.tokens.unused.strip():
        return None
    return f"prompts leave out {facts.tokens.unused!r}, with which {facts.config.model} is asked"


def _raw_for_chat_model(facts: Facts) -> str | None:
    tokens = facts.tokens
    if facts.config.method != "none" or tokens is None or _chats(facts.config):
        return None
    if not (tokens.instruction_tuned and tokens.chat_template):
        return None
    return f"{facts.config.model} is tuned for chat, and untuned it is only asked in raw format"


def _chat_for_base_model(facts: Facts) -> str | None:
    tokens = facts.tokens
    if tokens is None or facts.config.prompt.format != "chat" or not tokens.model_eos:
        return None
    if tokens.stop in tokens.model_eos:
        return None
    own = ", ".join(map(str, tokens.model_eos))
    return f"the template ends a turn with token {tokens.stop}, the model its texts with {own}"


def _left_out(facts: Facts) -> str | None:
    tokens = facts.tokens
    if tokens is None or not tokens.dropped:
        return None
    return (
        f"{tokens.dropped} of {tokens.dropped + tokens.train_examples} training examples exceed "
        f"prompt.max_tokens={facts.config.prompt.max_tokens} and are left out"
    )


def _answers_cut(facts: Facts) -> str | None:
    tokens, limit = facts.tokens, facts.config.evaluation.max_new_tokens
    if tokens is None or limit >= tokens.longest_gold or not facts.config.task.writes:
        return None
    return (
        f"evaluation.max_new_tokens={limit}, and the longest gold solution has "
        f"{tokens.longest_gold} tokens"
    )


def _letters(facts: Facts) -> str | None:
    tokens = facts.tokens
    if tokens is None or tokens.letters_per_token is None:
        return None
    if tokens.vocabulary < _OF_BYTES or tokens.letters_per_token >= _SHORTEST:
        return None
    return (
        f"words become tokens of {tokens.letters_per_token:.1f} letters (at least {_SHORTEST}), "
        f"and the tokenizer of {facts.config.model} has {tokens.vocabulary} tokens"
    )


def _test_in_train(facts: Facts) -> str | None:
    if facts.tokens is None or not facts.tokens.overlap:
        return None
    return f"test questions that are training problems too: {facts.tokens.overlap}"


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB066",
        title="The tokenizer makes a token of nearly every character",
        severity=Severity.ERROR,
        what=(
            "The model reads texts of another form than those it was made from: nothing that it "
            "knows is of use, texts are several times as long, and answers are cut. Training runs "
            "all the same, and its loss falls."
        ),
        why=(
            "The tokenizer's files are not read as they were meant: by another version of a "
            "library, or merges and scores were lost when they were converted. It still has all "
            "its tokens and uses the shortest."
        ),
        evidence=(
            "re-run here: the tokenizer that transformers 5.17.0 makes of Gemma 3's GGUF file, "
            "saved and loaded by 5.23.0: 1.0 characters a token on GSM8K, where 2.8 are right, and "
            "0.9 letters of its words, where 5.9 are right",
            "seen on a GPU: five arms trained and tested so, texts of 202 characters in 204 tokens",
        ),
        instead=(
            "Use the versions in constraints.txt, or take tokenizer.json from where the model was "
            "published."
        ),
        check=_letters,
    ),
    Rule(
        id="PB025",
        title="The chat template writes today's date into every prompt",
        severity=Severity.WARNING,
        what=(
            "Arms that run on different days are asked with different prompts, and a model tuned "
            "on Monday is tested on Tuesday with a prompt it never saw. The configuration, and so "
            "the run's fingerprint, stays the same."
        ),
        why=(
            "Templates such as Llama 3.2's call `strftime_now`, which transformers answers with "
            "the date of the machine. Nothing pins it."
        ),
        evidence=(
            "re-run here with transformers 5.23.0: with the clock moved, the renderer's prompt "
            "said 'Today Date: 02 Jan 2031' in place of '23 Nov 2026'",
            "sgl-project/sglang#3296: Llama 3.1's template takes `date_string`, with a fixed date "
            "where it is not given; Llama 3.2's falls back to the clock instead",
        ),
        instead=(
            "Set prompt.format=raw, or save the model with a template whose date is fixed and "
            "name that folder as the model. Else finish all arms on one day."
        ),
        versions={"transformers": ">=5.23,<5.24"},
        check=_dated_prompt,
    ),
    Rule(
        id="PB026",
        title="A model tuned for chat is the baseline, and is never asked in its own format",
        severity=Severity.NOTE,
        what=(
            "What the untuned model can do is known for one format only, and the other may suit it "
            "better: what tuning gains then looks larger than it is."
        ),
        why=(
            "It was last trained to answer within its turn markers, and the raw `Question: … "
            "Answer:` has none. How much that matters differs from model to model."
        ),
        evidence=(
            "huggingface/lighteval#82: gemma-2b-it on GSM8K, five shots, 3.4 % in chat format and "
            "5.5 % without",
            "EleutherAI/lm-evaluation-harness#1841: other accuracies of Llama 3 8B Instruct on "
            "GSM8K with its template than without",
        ),
        instead=(
            "Add a chat protocol beside the main one: evaluation.also=[zero_shot/chat]. The report "
            "then shows both for every arm."
        ),
        check=_raw_for_chat_model,
    ),
    Rule(
        id="PB027",
        title="Chat format for a model that does not end its own texts as the template does",
        severity=Severity.WARNING,
        what=(
            "A base model meets turn markers it hardly knows: untuned it does not stop after its "
            "answer, and LoRA cannot train the markers' embeddings."
        ),
        why=(
            "Training ends solutions with the template's end of turn, which the model's own "
            "generation_config does not list. paribus stops on both, and adds it to the "
            "generation_config that it saves beside the weights."
        ),
        evidence=(
            "hiyouga/LlamaFactory#7454, huggingface/open-r1#663: base models tuned on chats that "
            "do not stop, because generation_config names another token",
            "QwenLM/Qwen3#927: the makers say that base models know no turn marker",
        ),
        instead=("Set prompt.format=raw for a base model, or use its instruction-tuned sibling."),
        check=_chat_for_base_model,
    ),
    Rule(
        id="PB028",
        title="Training examples are left out because they are too long",
        severity=Severity.WARNING,
        what=(
            "The arm learns from fewer problems, and only from short ones. Where the variants "
            "differ in length, their arms no longer learn from the same problems."
        ),
        why=(
            "prompt.too_long=drop leaves out whole examples over prompt.max_tokens. Socratic "
            "solutions are longer than main ones, so they lose more."
        ),
        evidence=(
            "read in planning/prepare: what is dropped depends on the prompt and its solution, "
            "and so on the variant",
        ),
        instead=(
            "Raise prompt.max_tokens to the longest example: `paribus plan FILE --details` has it."
        ),
        check=_left_out,
    ),
    Rule(
        id="PB029",
        title="Solutions as long as the gold ones would be cut while they are tested",
        severity=Severity.WARNING,
        what=(
            "Problems with long solutions count as truncated even for a model that reasons "
            "exactly as the gold solution does. Arms that write more are hit harder."
        ),
        why="Decoding stops after evaluation.max_new_tokens, and GSM8K's answer comes last.",
        evidence=(
            "read in evaluation/engine/decoding: a row that reaches the limit stops with `length`",
            "the same fault in training libraries, which cut examples: huggingface/trl#6320",
        ),
        instead="Raise evaluation.max_new_tokens above the longest gold solution.",
        check=_answers_cut,
    ),
    Rule(
        id="PB039",
        title="Test questions stand among the training problems",
        severity=Severity.WARNING,
        what=(
            "They are left out of training, so that the test stays unseen; but files that share "
            "questions are likely to share near copies too, which are trained on."
        ),
        why="Two questions count as one if they are equal but for blanks; other numbers hide them.",
        evidence=(
            "counted here: GSM8K as OpenAI publishes it has no such question, and 3 of 1,319 test "
            "problems share 13 words in a row with a training problem",
        ),
        instead=(
            "Look where the files come from, and read in the report how many problems share 13 "
            "words in a row."
        ),
        check=_test_in_train,
    ),
    Rule(
        id="PB071",
        title="The chat template ends a prompt with what its assistant's turns do not begin with",
        severity=Severity.NOTE,
        what=(
            "Every arm is asked with a prompt that stops before it. An untuned model that was made "
            "to go on from there, such as one that thinks first, may answer without thinking, and "
            "is measured below what it can do."
        ),
        why=(
            "A turn that is trained on is what the template writes of it. DeepSeek-R1's opens "
            "`<think>` in the prompt, and writes an answered turn without thoughts. With `<think>` "
            "in the prompt of testing alone, a tuned model would go on from a text that it was "
            "never trained on."
        ),
        evidence=(
            "deepseek-ai/DeepSeek-R1#526: without `<think>` at the end of its prompt the model "
            "sometimes answers without thinking",
            "hiyouga/LlamaFactory#6987: R1 models tuned without `<think>` in the prompt and asked "
            "with it begin their answers wrongly",
        ),
        instead=(
            "Compare tuned models with each other. To measure the untuned one as published, save "
            "it with a template that begins an assistant's turn as its prompts end, and name that "
            "folder as the model."
        ),
        check=_shorter_prompt,
    ),
)
