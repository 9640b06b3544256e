"""Prompts: their golden text, and the proofs each encoded example carries."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from paribus.errors import PromptError
from paribus.prompts.encode import Encoded, encode_examples, encode_prompts
from paribus.prompts.formats import render_example, render_prompt, stop_token
from paribus.records import Problem
from paribus.testing.tiny import tiny_tokenizer

SHOT = Problem(
    question="Mia has 2 pens and buys 3. How many?",
    solution="Mia has 2+3=<<2+3=5>>5 pens.\n#### 5",
    answer="5",
)
QUESTION = "Tom has 3 pens and 4 books. How many things?"
SOLUTION = "Tom has 3+4=<<3+4=7>>7 things.\n#### 7"
GOLDEN = {
    ("raw", 0): "Question: Tom has 3 pens and 4 books. How many things?\nAnswer:",
    ("raw", 1): (
        "Question: Mia has 2 pens and buys 3. How many?\n"
        "Answer: Mia has 2+3=<<2+3=5>>5 pens.\n"
        "#### 5\n"
        "\n"
        "Question: Tom has 3 pens and 4 books. How many things?\n"
        "Answer:"
    ),
    ("chat", 0): (
        "<bos><start_of_turn>user\n"
        "Tom has 3 pens and 4 books. How many things?<end_of_turn>\n"
        "<start_of_turn>model\n"
    ),
    ("chat", 1): (
        "<bos><start_of_turn>user\n"
        "Mia has 2 pens and buys 3. How many?<end_of_turn>\n"
        "<start_of_turn>model\n"
        "Mia has 2+3=<<2+3=5>>5 pens.\n"
        "#### 5<end_of_turn>\n"
        "<start_of_turn>user\n"
        "Tom has 3 pens and 4 books. How many things?<end_of_turn>\n"
        "<start_of_turn>model\n"
    ),
}
STOPS = {"raw": "<eos>", "chat": "<end_of_turn>"}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=40)


def render(format: str, shots: int, tokenizer, question: str = QUESTION) -> str:
    problem = Problem(question=question, solution="", answer="")
    return render_prompt(problem, format=format, shots=[SHOT] * shots, tokenizer=tokenizer)


def rendered(format: str, tokenizer, question: str = QUESTION, solution: str = SOLUTION):
    problem = Problem(question=question, solution=solution, answer="")
    return render_example(problem, format=format, shots=(), tokenizer=tokenizer)


def example(format: str, tokenizer, question: str = QUESTION, solution: str = SOLUTION) -> Encoded:
    prompt, target = rendered(format, tokenizer, question, solution)
    (encoded,) = encode_examples(
        [prompt],
        [target],
        stop_token(format=format, tokenizer=tokenizer),
        tokenizer,
    )
    return encoded


def without(tokenizer, **attributes):
    changed = copy.deepcopy(tokenizer)
    for name, value in attributes.items():
        setattr(changed, name, value)
    return changed


@pytest.mark.parametrize(("format", "shots"), GOLDEN)
def test_golden_prompts_with_exactly_one_bos(tokenizer, format, shots):
    text = render(format, shots, tokenizer)
    (ids,) = encode_prompts([text], tokenizer)
    assert text == GOLDEN[format, shots]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(ids) == "<bos>" + text.removeprefix("<bos>")


def test_a_solution_follows_a_raw_prompt_after_a_blank_as_in_the_shot(tokenizer):
    for format, blank in (("raw", " "), ("chat", "")):
        prompt, target = rendered(format, tokenizer, SHOT.question, SHOT.solution)
        assert prompt == render(format, 0, tokenizer, SHOT.question)
        assert target == blank + SHOT.solution
        assert render(format, 1, tokenizer).startswith(prompt + target)


@pytest.mark.parametrize("format", STOPS)
def test_an_example_ends_with_the_token_generation_stops_on(tokenizer, format):
    stop = stop_token(format=format, tokenizer=tokenizer)
    assert tokenizer.convert_ids_to_tokens(stop) == STOPS[format]
    encoded = example(format, tokenizer)
    (prompt,) = encode_prompts([render(format, 0, tokenizer)], tokenizer)
    assert encoded.ids[-1] == stop
    assert encoded.ids[: encoded.prompt_length] == prompt
    target = encoded.ids[encoded.prompt_length : -1]
    assert tokenizer.decode(target) == {"raw": " ", "chat": ""}[format] + SOLUTION
    assert encoded.target_length == len(target) + 1


def test_the_table_of_encode(tokenizer):
    """The docstring's example, one token per byte."""
    (encoded,) = encode_examples(
        ["Question: ?\nAnswer:"], [" Tom has 3\n#### 7"], tokenizer.eos_token_id, tokenizer
    )
    tokens = ["<bos>", *"Question:Ġ?ĊAnswer:ĠTomĠhasĠ3Ċ####Ġ7", "<eos>"]
    losses = [".", *"...................xxxxxxxxxxxxxxxxx", "x"]
    assert tokenizer.convert_ids_to_tokens(list(encoded.ids)) == tokens
    assert ["." if i < encoded.prompt_length else "x" for i in range(len(tokens))] == losses


def test_a_merge_across_the_boundary_is_refused():
    merging = tiny_tokenizer(merges=((":", "Ġ"),))
    with pytest.raises(PromptError, match=r"a token merges prompt and solution: .*Answer:.*Tom"):
        example("raw", merging)
    assert example("chat", merging).target_length == len(SOLUTION) + 1


def test_a_merge_on_one_side_of_the_boundary_is_allowed():
    merging = tiny_tokenizer(merges=(("Ġ", "T"), ("r", ":")))
    encoded = example("raw", merging)
    pieces = merging.convert_ids_to_tokens(list(encoded.ids))
    assert pieces[encoded.prompt_length - 1 : encoded.prompt_length + 1] == ["r:", "ĠT"]


@pytest.mark.parametrize(("format", "shots"), GOLDEN)
def test_bos_in_a_question_is_refused(tokenizer, format, shots):
    text = render(format, shots, tokenizer, "Tom <bos> has?")
    with pytest.raises(PromptError, match="has 2 <bos> tokens instead of 1") as caught:
        encode_prompts([text], tokenizer)
    assert caught.value.remedy == "remove <bos> from the data or the chat template"


def test_bos_in_a_solution_is_refused(tokenizer):
    with pytest.raises(PromptError, match="has 2 <bos> tokens instead of 1"):
        example("raw", tokenizer, solution="It is <bos>\n#### 7")


@pytest.mark.parametrize(("format", "stop"), STOPS.items())
def test_the_stop_token_in_a_solution_is_refused(tokenizer, format, stop):
    with pytest.raises(PromptError, match=f"a solution contains the stop token '{stop}'"):
        example(format, tokenizer, solution=f"It is {stop}\n#### 7")


def test_a_tokenizer_without_bos_adds_none(tokenizer):
    bare = without(tokenizer, bos_token=None)
    plain = tokenizer.encode("Answer:", add_special_tokens=False)
    assert encode_prompts(["Answer:"], bare) == [tuple(plain)]
    assert len(plain) == len("Answer:")


def test_a_tokenizer_that_begins_no_text_with_its_bos_adds_none():
    """SmolLM2's <bos> is what each turn begins with; no text of its training began with it."""
    unled = tiny_tokenizer()
    unled.backend_tokenizer.post_processor = processors.Sequence([])
    (ids,) = encode_prompts(["Answer:"], unled)
    assert unled.bos_token_id not in ids
    assert len(ids) == len("Answer:")


def test_without_a_template_chat_is_refused_and_raw_is_not(tokenizer):
    bare = without(tokenizer, chat_template=None)
    for ask in (
        lambda: render("chat", 0, bare),
        lambda: stop_token(format="chat", tokenizer=bare),
    ):
        with pytest.raises(PromptError, match="has no chat template") as caught:
            ask()
        assert caught.value.remedy == "set prompt.format=raw"
    assert render("raw", 1, bare) == GOLDEN["raw", 1]


def test_without_an_end_of_sequence_token_raw_is_refused(tokenizer):
    with pytest.raises(PromptError, match="no end-of-sequence token"):
        stop_token(format="raw", tokenizer=without(tokenizer, eos_token=None))


def test_a_template_that_does_not_end_turns_is_refused(tokenizer):
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(PromptError, match="writes nothing behind an assistant's turn"):
        stop_token(format="chat", tokenizer=without(tokenizer, chat_template=template))


TURNS = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}MARK"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def ending(mark: str, tokenizer):
    return without(tokenizer, chat_template=TURNS.replace("MARK", mark))


@pytest.mark.parametrize(
    ("mark", "token"),
    [
        ("<end_of_turn>", "<end_of_turn>"),
        ("<end_of_turn>\n", "<end_of_turn>"),
        ("<end_of_turn><eos>\n", "<end_of_turn>"),
        ("<eos>\n[next]", "<eos>"),
        ("\n", "Ċ"),
        ("#\n", "#"),
        ("\n<eos>", "<eos>"),
        (" <eos>", "<eos>"),
    ],
)
def test_a_turn_ends_with_one_whole_token(tokenizer, mark, token):
    stop = stop_token(format="chat", tokenizer=ending(mark, tokenizer))
    assert tokenizer.convert_ids_to_tokens(stop) == token


@pytest.mark.parametrize("mark", ["<|im_end|>", "###", "\n\n", " \n", "☃", "###<eos>", "#\nUser:"])
def test_a_marker_of_several_tokens_is_refused(tokenizer, mark):
    """Its first piece would end texts wherever they hold it: `#` is how `#### 7` begins."""
    with pytest.raises(PromptError, match="which is not one token of this tokenizer") as caught:
        stop_token(format="chat", tokenizer=ending(mark, tokenizer))
    assert repr(mark)[1:-1] in caught.value.message


def test_a_marker_that_the_vocabulary_lacks_is_refused():
    """<unk> stands for anything."""
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "[": 1}, unk_token="<unk>"))
    unknown = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(PromptError, match="which is not one token of this tokenizer but '<unk>'"):
        stop_token(format="chat", tokenizer=ending("<|im_end|>", unknown))


def test_an_end_of_sequence_token_that_the_vocabulary_lacks_is_refused(tokenizer):
    with pytest.raises(PromptError, match="'</s>' is not in its vocabulary: it becomes '<unk>'"):
        stop_token(format="raw", tokenizer=without(tokenizer, eos_token="</s>"))


LEAVING_OUT = {
    "everything": "{{ bos_token }}<start_of_turn>model\n",
    "the question": "{% for m in messages if m['role'] != 'user' %}{{ m['content'] }}{% endfor %}",
    "the shots": "{{ messages[-1]['content'] }}<start_of_turn>model\n",
    "all but the first": "{{ messages[0]['content'] }}<start_of_turn>model\n",
    "the solutions": "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
    "a question's end": "{% for m in messages %}{{ m['content'][:20] }}{% endfor %}",
    "capitals": "{% for m in messages %}{{ m['content'] | lower }}{% endfor %}",
    "their order": "{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}",
}


@pytest.mark.parametrize("template", LEAVING_OUT.values(), ids=LEAVING_OUT)
def test_a_template_that_leaves_something_out_is_refused(tokenizer, template):
    with pytest.raises(PromptError, match="leaves out or changes what the (user|assistant) says"):
        render("chat", 1, without(tokenizer, chat_template=template))


@pytest.mark.parametrize("name", ["everything", "the question", "the solutions", "capitals"])
def test_a_template_without_a_place_for_a_solution_is_refused(tokenizer, name):
    with pytest.raises(PromptError, match="leaves out or changes what"):
        stop_token(format="chat", tokenizer=without(tokenizer, chat_template=LEAVING_OUT[name]))


def test_a_template_may_trim_blanks(tokenizer):
    turns = TURNS.replace("['content']", "['content'] | trim").replace("MARK", "<eos>")
    trimming = without(tokenizer, chat_template=turns)
    prompt, target = rendered("chat", trimming, " Why? \n", "\n So. ")
    assert (prompt, target) == ("<bos>[user]Why?<eos>[assistant]", "So.")


@given(question=TEXT, solution=TEXT)
def test_any_text_is_encoded_faithfully(tokenizer, question, solution):
    """No text is cut, and none is changed: decoding gives prompt and solution back."""
    for format in STOPS:
        encoded = example(format, tokenizer, question, solution)
        whole = "".join(rendered(format, tokenizer, question, solution))
        decoded = tokenizer.decode(encoded.ids, clean_up_tokenization_spaces=False)
        assert decoded == "<bos>" + whole.removeprefix("<bos>") + STOPS[format]
