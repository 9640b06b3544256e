"""Chat by ten published templates' behaviour: prompts, targets, the token that ends a turn."""

import shutil
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_families import FAMILIES, with_visible_blanks
from paribus.config.schema import ArmConfig, DataConfig, PromptConfig
from paribus.errors import PromptError
from paribus.planning.prepare import prepare
from paribus.planning.rules.texts import token_facts
from paribus.prompts.encode import Encoded, encode_examples, encode_prompts
from paribus.prompts.formats import Frame, render_example, render_prompt, stop_token
from paribus.records import Problem

SHOT = Problem(question="1+1?", solution="2\n#### 2", answer="2")
QUESTION, SOLUTION = "2+2?", "4\n#### 4"
CASES = {
    "gemma-2": (
        "<bos><start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n",
        "4\n#### 4",
        "<end_of_turn>",
    ),
    "llama-2": ("<s>[INST] 2+2? [/INST]", " 4\n#### 4 ", "</s>"),
    "llama-3": (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "4\n#### 4",
        "<|eot_id|>",
    ),
    "mistral": ("<s>[INST] 2+2?[/INST]", " 4\n#### 4", "</s>"),
    "qwen2.5": (
        "<|im_start|>system\nYou are helpful.<|im_end|>\n"
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        "4\n#### 4",
        "<|im_end|>",
    ),
    "qwen3": (
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        "<think>\n\n</think>\n\n4\n#### 4",
        "<|im_end|>",
    ),
    "qwen3-thinking": (  # its prompt goes on with \n, which is half of the token \n\n
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>",
        "\n\n</think>\n\n4\n#### 4",
        "<|im_end|>",
    ),
    "deepseek-r1": (  # its prompt goes on with <think>\n, which no turn begins with
        "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜>",
        "4\n#### 4",
        "<｜end▁of▁sentence｜>",
    ),
    "zephyr": ("<|user|>\n2+2?</s>\n<|assistant|>\n", "4\n#### 4", "</s>"),
    "phi-3": ("<|user|>\n2+2?<|end|>\n<|assistant|>\n", "4\n#### 4", "<|end|>"),
}
BEHIND = {"", "\n", "\n<|endoftext|>"}
"""What templates write behind the token that ends a turn. It is not learnt."""
TOKENIZERS = {name: family.tokenizer() for name, family in FAMILIES.items()}
BLANKS = st.text(" \n\t", max_size=3)
SOLUTIONS = st.builds(
    "".join,
    st.tuples(BLANKS, st.text(st.characters(codec="utf-8", exclude_characters="<")), BLANKS),
)


def rendered(name: str, solution: str = SOLUTION, shots=(), system: str | None = None):
    return render_example(
        Problem(question=QUESTION, solution=solution, answer=""),
        format="chat",
        shots=shots,
        tokenizer=TOKENIZERS[name],
        frame=Frame(system=system),
    )


def asked(name: str, shots=(), system: str | None = None) -> str:
    return render_prompt(
        Problem(question=QUESTION, solution="", answer=""),
        format="chat",
        shots=shots,
        tokenizer=TOKENIZERS[name],
        frame=Frame(system=system),
    )


def encoded(name: str, prompt: str, target: str) -> Encoded:
    tokenizer = TOKENIZERS[name]
    stop = stop_token(format="chat", tokenizer=tokenizer)
    (example,) = encode_examples([prompt], [target], stop, tokenizer)
    return example


@pytest.mark.parametrize("name", FAMILIES)
def test_prompt_target_and_stop_token(name):
    prompt, target, stop = CASES[name]
    assert rendered(name) == (prompt, target)
    assert asked(name) == prompt
    end = stop_token(format="chat", tokenizer=TOKENIZERS[name])
    assert TOKENIZERS[name].convert_ids_to_tokens(end) == stop


@pytest.mark.parametrize(("name", "shots"), [*product(FAMILIES, [(), (SHOT,)])])
def test_training_and_testing_share_the_prompt_and_the_loss_is_on_the_target(name, shots):
    tokenizer, (_, target, stop) = TOKENIZERS[name], CASES[name]
    example = encoded(name, *rendered(name, shots=shots))
    (tested,) = encode_prompts([asked(name, shots)], tokenizer)
    assert example.ids[: example.prompt_length] == tested
    learnt = tokenizer.decode(example.ids[example.prompt_length :])
    assert learnt == target + stop
    assert SOLUTION in learnt


TWO_TURNS = {
    "llama-2": "<s>[INST] 1+1? [/INST] 2\n#### 2 </s><s>[INST] 2+2? [/INST]",
    "mistral": "<s>[INST] 1+1?[/INST] 2\n#### 2</s>[INST] 2+2?[/INST]",
    "qwen3": (
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2\n#### 2<|im_end|>\n"
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "deepseek-r1": (
        "<｜begin▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜>2\n#### 2<｜end▁of▁sentence｜>"
        "<｜User｜>2+2?<｜Assistant｜>"
    ),
}


@pytest.mark.parametrize("name", TWO_TURNS)
def test_a_shot_is_written_as_an_earlier_turn(name):
    assert asked(name, (SHOT,)) == TWO_TURNS[name]


def test_a_turn_may_begin_with_bos_and_a_question_may_not_hold_it():
    tokenizer = TOKENIZERS["llama-2"]
    (ids,) = encode_prompts([asked("llama-2", (SHOT, SHOT))], tokenizer)
    assert ids.count(tokenizer.bos_token_id) == 3
    text = asked("llama-2", (SHOT,)).replace("2+2?", "2+<s>2?")
    with pytest.raises(PromptError, match="has 3 <s> tokens instead of 1"):
        encode_prompts([text], tokenizer)


SYSTEM = {
    "llama-2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n2+2? [/INST]",
    "llama-3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "qwen2.5": (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "deepseek-r1": "<｜begin▁of▁sentence｜>Be brief.<｜User｜>2+2?<｜Assistant｜>",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\n2+2?</s>\n<|assistant|>\n",
}


@pytest.mark.parametrize("name", SYSTEM)
def test_a_system_message_comes_first(name):
    prompt, target, _ = CASES[name]
    assert rendered(name, system="Be brief.") == (SYSTEM[name], target)
    assert prompt != SYSTEM[name] == asked(name, system="Be brief.")


REFUSED = {
    "gemma-2": "takes no system message: TemplateError: System role not supported",
    "mistral": "leaves out or changes what the system says once the question is answered",
}


@pytest.mark.parametrize(("name", "shots"), [*product(REFUSED, [(), (SHOT,)])])
def test_a_template_without_a_place_for_a_system_message_is_refused(name, shots):
    with pytest.raises(PromptError, match=f"the chat template {REFUSED[name]}") as caught:
        rendered(name, shots=shots, system="Be brief.")
    assert "put its text at the beginning of each question" in caught.value.remedy


def test_a_raw_prompt_has_no_system_message():
    with pytest.raises(PromptError, match="no place for a system message: 'Be brief.'") as caught:
        render_example(
            Problem(question="1?", solution="1", answer="1"),
            format="raw",
            shots=(),
            tokenizer=None,
            frame=Frame(system="Be brief."),
        )
    assert "prompt.format=chat" in caught.value.remedy


def whole(name: str, solution: str) -> str:
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": solution},
    ]
    text = TOKENIZERS[name].apply_chat_template(messages, tokenize=False)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("name", FAMILIES)
@given(solution=SOLUTIONS)
def test_an_example_is_the_rendered_whole_up_to_the_end_of_the_turn(name, solution):
    prompt, target = rendered(name, solution)
    example, tokenizer = encoded(name, prompt, target), TOKENIZERS[name]
    text = prompt + target + CASES[name][2]
    assert text == whole(name, solution)[: len(text)]
    assert whole(name, solution)[len(text) :] in BEHIND
    assert prompt == CASES[name][0]
    assert solution.strip() in target
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert list(example.ids)[-len(ids) :] == ids  # some begin texts with a <bos> besides


PIECES = {
    "llama-2": ["]", "▁4", "<0x0A>", "####", "▁4", "▁", "</s>"],
    "mistral": ["[/INST]", "▁▁", "4", "<0x0A>", "####", "▁4", "</s>"],
    "zephyr": ["<0x0A>", "4", "<0x0A>", "####", "▁4", "</s>"],
}
"""The tokens of each target, and the last of the prompt before it."""


@pytest.mark.parametrize("name", PIECES)
def test_blanks_as_llama_2s_tokenizer_writes_them(name):
    tokenizer = with_visible_blanks(FAMILIES[name])
    problem = Problem(question=QUESTION, solution=SOLUTION, answer="")
    prompt, target = render_example(problem, format="chat", shots=(), tokenizer=tokenizer)
    stop = stop_token(format="chat", tokenizer=tokenizer)
    (example,) = encode_examples([prompt], [target], stop, tokenizer)
    end = example.ids[example.prompt_length - 1 :]
    assert (prompt, target) == CASES[name][:2]
    assert tokenizer.convert_ids_to_tokens(list(end)) == PIECES[name]
    ids = tokenizer.encode(whole(name, SOLUTION), add_special_tokens=name == "zephyr")
    assert list(example.ids) == ids[: len(example.ids)]


THOUGHTS = "<think>\nTwice two.\n</think>\n\n4\n#### 4"


@pytest.mark.parametrize("solution", [THOUGHTS, "<think>Twice two.</think>4\n#### 4"])
@pytest.mark.parametrize(
    ("name", "target"),
    [("qwen3", THOUGHTS), ("qwen3-thinking", THOUGHTS.removeprefix("<think>"))],
)
def test_thoughts_in_a_solution_take_the_place_of_the_empty_block(name, target, solution):
    assert rendered(name, solution) == (CASES[name][0], target)


def test_thoughts_that_a_template_drops_are_refused():
    with pytest.raises(PromptError, match="leaves out or changes what the assistant") as caught:
        rendered("deepseek-r1", THOUGHTS)
    assert caught.value.remedy.startswith("remove the thoughts, up to </think>, from the data")


CHANGED = {
    "the question, once answered": (
        "{% for m in messages %}{{ '[last]' if loop.last }}{{ m.content }}<|im_end|>{% endfor %}",
        "otherwise once the turn is there: '[last]What is 6 times 7?' becomes 'What is 6 times 7?",
    ),
    "the end of long turns": (
        "{% for m in messages %}{{ m.content }}{{ '<|im_end|>' if m.content | length < 99 }}\n"
        "{% endfor %}",
        "ends this assistant's turn with '444444444444444444444444444444444444444\\n', and others "
        "with '<|im_end|>\\n'",
    ),
}


@pytest.mark.parametrize(("template", "message"), CHANGED.values(), ids=CHANGED)
def test_a_template_that_writes_a_turn_in_two_ways_is_refused(template, message):
    tokenizer = FAMILIES["qwen2.5"].tokenizer()
    tokenizer.chat_template = template
    problem = Problem(question="2+2?", solution="4" * 99, answer="4")
    with pytest.raises(PromptError) as caught:
        render_example(problem, format="chat", shots=(), tokenizer=tokenizer)
    assert message in caught.value.message


def test_an_arm_is_trained_and_tested_with_one_prompt_and_told_what_it_leaves_out(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "r1")
    template = FAMILIES["deepseek-r1"].template
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    config = ArmConfig(
        model=str(folder),
        data=DataConfig(train_size=3, test_size=2),
        prompt=PromptConfig(format="chat", max_tokens=900),
    )
    inputs = prepare(config, 0)
    decode = inputs.tokenizer.decode
    for problem, example in zip(inputs.problems.train, inputs.examples, strict=True):
        prompt = f"<bos><｜User｜>{problem.question}<｜Assistant｜>"
        assert decode(example.ids) == f"{prompt}{problem.solution}<eos>"
        assert decode(example.ids[: example.prompt_length]) == prompt
    for prompt in inputs.prompt_sets[0].prompts:
        assert prompt.text == f"<bos><｜User｜>{prompt.problem.question}<｜Assistant｜>"
    assert token_facts(inputs, config).unused == "<think>\n"
    raw = replace(config, prompt=PromptConfig(format="raw", max_tokens=900))
    assert token_facts(prepare(raw, 0), raw).unused == ""
