"""Encoded texts on disk: what they are found by, damaged, in the way, and not worth a file."""

import os
import shutil
from pathlib import Path

import pytest

from paribus.models.source import ModelSource
from paribus.planning import encodings
from paribus.planning.encodings import Encodings, encoded, encodings_folder, tokenizer_of

PROMPTS = ["Question: 1+1?\nAnswer:", "Question: 2+2?\nAnswer:"]
SOLUTIONS = [" 2\n#### 2", " 4\n#### 4"]


@pytest.fixture
def source(tiny, tmp_path, monkeypatch) -> ModelSource:
    """The tiny model, with its own cache in which every text is worth keeping."""
    monkeypatch.setenv("PARIBUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encodings, "_WORTH_KEEPING", 0)
    forget()
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    yield ModelSource(path=folder, identity="tiny")
    forget()


def forget() -> None:
    """As in another process."""
    for remembered in (encodings._encodings, encodings._files, tokenizer_of):
        remembered.cache_clear()


def encode(source: ModelSource, format="raw", prompts=PROMPTS, solutions=SOLUTIONS) -> Encodings:
    forget()
    return encoded(source, format, prompts, solutions)


def files() -> list[Path]:
    return sorted(encodings_folder().iterdir())


@pytest.mark.parametrize("solutions", [SOLUTIONS, None], ids=["solved", "alone"])
@pytest.mark.parametrize("format", ["raw", "chat"])
def test_another_process_reads_what_one_has_encoded(source, format, solutions):
    made = encode(source, format, PROMPTS, solutions)
    tokenizer = tokenizer_of(source)
    again = encode(source, format, PROMPTS, solutions)
    assert tokenizer_of.cache_info().currsize == 0  # it was not needed
    assert again == made
    assert (
        tokenizer.convert_ids_to_tokens(made.stop)
        == {"raw": "<eos>", "chat": "<end_of_turn>"}[format]
    )
    assert [tokenizer.decode(each.ids[: each.prompt_length]) for each in again.texts] == [
        f"<bos>{each}" for each in PROMPTS
    ]
    assert len(files()) == 1


def test_arms_share_them_in_one_process(source):
    forget()
    assert encoded(source, "raw", PROMPTS) is encoded(source, "raw", list(PROMPTS))


HARMS = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "hash alone": lambda data: data[:32],
    **{
        f"flipped at {place}": lambda data, place=place: (
            data[: (at := int(place * (len(data) - 1)))] + bytes([data[at] ^ 1]) + data[at + 1 :]
        )
        for place in (0.0, 0.1, 0.5, 0.9, 1.0)
    },
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_file_is_made_again(source, harm):
    made = encode(source)
    (file,) = files()
    whole = file.read_bytes()
    file.write_bytes(harm(whole))
    assert encode(source) == made
    assert file.read_bytes() == whole


def test_a_file_under_the_name_of_another_is_not_read(source):
    encode(source, solutions=None)
    (wrong,) = files()
    made = encode(source)
    (right,) = set(files()) - {wrong}
    right.write_bytes(wrong.read_bytes())
    assert encode(source) == made


def test_a_pipe_in_its_place_does_not_hang(source):
    made = encode(source)
    (file,) = files()
    file.unlink()
    os.mkfifo(file)
    assert encode(source) == made


def test_without_room_for_files_texts_are_encoded_all_the_same(source):
    made = encode(source)
    shutil.rmtree(encodings_folder())
    encodings_folder().write_text("a file, where a folder should be")
    assert encode(source) == made
    assert encodings_folder().read_text() == "a file, where a folder should be"


def changed_text(source: ModelSource) -> None:
    encode(source, prompts=[PROMPTS[0], PROMPTS[1] + " "])


def another_format(source: ModelSource) -> None:
    encode(source, "chat")


def no_solutions(source: ModelSource) -> None:
    encode(source, solutions=None)


def another_tokenizer(source: ModelSource) -> None:
    file = source.path / "tokenizer.json"
    file.write_text(file.read_text() + "\n")
    encode(source)


def another_template(source: ModelSource) -> None:
    folder = source.path / "additional_chat_templates"
    folder.mkdir()
    (folder / "tool.jinja").write_text("{{ messages }}")
    encode(source)


@pytest.mark.parametrize(
    "change", [changed_text, another_format, no_solutions, another_tokenizer, another_template]
)
def test_what_follows_from_something_else_has_another_name(source, change):
    encode(source)
    change(source)
    assert len(files()) == 2


def test_another_library_may_make_another_tokenizer(source, monkeypatch):
    encode(source)
    monkeypatch.setattr(encodings, "version", lambda name: "5.17")
    encode(source)
    assert len(files()) == 2


def test_other_weights_have_the_same_tokens(source):
    encode(source)
    (source.path / "model.safetensors").write_bytes(b"")
    encode(source)
    assert len(files()) == 1


def test_a_file_that_cannot_be_read_is_no_part_of_a_tokenizer(source):
    made = encode(source)
    (source.path / "notes").symlink_to("/proc/self/mem")  # which nobody can read from its start
    assert encode(source) == made
    assert len(files()) == 1


def test_few_texts_leave_no_file(source, monkeypatch):
    monkeypatch.setattr(encodings, "_WORTH_KEEPING", sum(map(len, PROMPTS)) + 1)
    encode(source)
    assert not encodings_folder().exists()
