r"""`paribus init --train FILE`: write a task and an experiment for rows of one's own.

intent_train.csv: 180 distinct problems; intent_test.csv: 90
layout text/label
prompt: 'You charged me twice for one kettle.\nLabel:'
answer: 'refund'
answers are one of 6 labels: account, cancel, …; metric: exact_match, then choice
wrote intent_task.yaml and intent.yaml: look at the prompt, then
  paribus plan intent.yaml

Without --train, a terminal is asked. No file is ever overwritten.
"""

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from paribus.cli.arguments import command
from paribus.cli.console import PlainConsole
from paribus.config.schema import DataConfig
from paribus.config.task import LIKELIHOOD, stored_task
from paribus.data.guess import Guess, guess_task
from paribus.data.problems import FEW_SHOTS
from paribus.data.sources import Files, source_of
from paribus.errors import DataError, UserError
from paribus.files import write_text

MODEL = "gemma-3-270m"
_FEWEST = 20
"""Problems of which an experiment can be made."""
_MOST_TESTS, _MOST_TRAINED = 500, 2000
"""Problems that a first experiment takes from files that have more."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SPLIT = re.compile(r"[-_.]?(train|training)(?=[-_.]|$)", re.IGNORECASE)


def from_options(options: Namespace) -> int:
    """Run `paribus init`."""
    train, test, model, name = options.train, options.test, options.model, options.name
    if not train:
        train, test, model, name = _asked(test, model, name)
    return init(train, test, model or MODEL, name or _name_of(Path(train)), options.into)


def init(train: str, test: str | None, model: str, name: str, folder: Path) -> int:
    """Write `NAME_task.yaml` and `NAME.yaml` into `folder`, and print what they say.

    Raises UserError if a file is there already, or is missing, or no task can be made of its rows.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"--name {name[:60]!r} cannot name an experiment",
            "use letters, digits, dots, - and _, up to 64, a letter or digit first",
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--into {folder} is a file", "name a folder")
    files = (folder / f"{name}_task.yaml", folder / f"{name}.yaml")
    for file in files:
        if file.exists():
            raise UserError(
                f"{file} exists already; nothing was written",
                "give another --name, or another folder: --into DIR",
            )
    trained, tested = _files(train, "train"), _files(test, "test") if test else None
    guess = guess_task(name, trained, tested)
    sizes = _sizes(guess, tested is not None, trained.named)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(files[0], _task_text(name, guess, trained, tested, folder))
    write_text(files[1], _experiment_text(name, guess, sizes, _model(model, folder)))
    _tell(guess, trained, tested, files)
    return 0


def _asked(test: str | None, model: str, name: str) -> tuple[str, str | None, str, str]:
    """Return what a terminal answers. Raises UserError if there is none."""
    if not sys.stdin.isatty():
        raise UserError(
            "the file of training rows is not named, and this is no terminal to ask",
            "paribus init --train FILE [--test FILE] [--model MODEL] [--name NAME] [--into DIR]",
        )
    try:
        train = input("file of training rows (JSON lines, JSON, CSV, Parquet): ").strip()
        if not train:
            raise UserError("no file of training rows was named", "paribus init --train FILE")
        test = test or input("file of test rows (Enter: hold out training rows): ").strip()
        model = model or input(f"model (Enter: {MODEL}): ").strip()
        name = name or input(f"name (Enter: {_name_of(Path(train))}): ").strip()
    except EOFError as error:
        raise UserError("the questions were not answered", "paribus init --train FILE") from error
    return train, test, model, name


def _name_of(train: Path) -> str:
    """Return a name for an experiment: the file's without "train", else its folder's."""
    stem = train.name.partition(".")[0]
    for name in (_SPLIT.sub("", stem), train.absolute().parent.name):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:60]
        if plain:
            return plain
    return "mine"


def _files(named: str, split: str) -> Files:
    """Return the files that `--train` or `--test` means. Raises DataError if there are none."""
    task = stored_task({"task": "", "folder": ".", split: named})
    try:
        source = source_of(task, DataConfig(), split)
    except DataError as error:
        raise DataError(error.message, f"name a file or a folder of rows: --{split} FILE") from None
    assert isinstance(source, Files)
    return source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """How many problems a first experiment uses; `left` are trained on, or could be."""

    left: int
    train: int | str
    test: int | str
    validation: int


def _sizes(guess: Guess, has_tests: bool, named: str) -> _Sizes:
    held_out = 0 if has_tests else min(_MOST_TESTS, guess.train // 4)
    if guess.train < _FEWEST:
        raise DataError(
            f"{named}: {guess.train} distinct problems are too few to train and test on",
            f"give at least {_FEWEST}; {FEW_SHOTS} are kept as solved examples",
        )
    left = guess.train - held_out - FEW_SHOTS
    most = guess.test if has_tests else held_out
    return _Sizes(
        left=left,
        train="all" if left <= _MOST_TRAINED else _MOST_TRAINED,
        test=min(most, _MOST_TESTS) if most > _MOST_TESTS or not has_tests else "all",
        validation=max(1, min(200, left // 10)),
    )


_COMMENTS = {
    "doc_to_text": "the prompt: Jinja over the columns of a row",
    "doc_to_target": "what is to be written after it: a column, or Jinja",
    "target_delimiter": "between prompt and target",
    "question": "what identifies a problem, and a user's turn in a chat",
    "doc_to_choice": "the answers there are",
    "output_type": "nothing is written: the likeliest choice is the answer",
    "where": "rows without these are left out",
    "generation_kwargs": "until: what ends an answer; max_gen_toks: its most tokens",
    "metric_list": "conclusions are drawn from the first",
}


_LOSS = "nothing is generated: arms are compared by their loss on answers; f1 reads texts"


def _task_text(name: str, guess: Guess, train: Files, test: Files | None, folder: Path) -> str:
    lines = [
        f"# The task {name}: where problems come from, how they become text, what counts as right.",
        "# Written by `paribus init` from the rows themselves; every key: docs/tasks.md",
        f"task: {_yaml(name)}",
        f"train: {_yaml(_paths(train, folder))}",
    ]
    if test is not None:
        lines.append(f"test: {_yaml(_paths(test, folder))}")
    if guess.chat:
        lines += [
            f"# The layout {guess.layout} is recognised: a list of turns.",
            "turns: last  # trained on the assistant's last turn; every: on each of them",
        ]
    for key, comment in _COMMENTS.items():
        if key in guess.keys:
            value = guess.keys[key]
            lines += [f"# {_LOSS if value == [{'metric': LIKELIHOOD}] else comment}"]
            lines += [f"{key}: {_yaml(value)}"]
    return "\n".join(lines) + "\n"


def _paths(files: Files, folder: Path) -> str | list[str]:
    paths = [os.path.relpath(path, folder) for path in files.paths]
    return paths[0] if len(paths) == 1 else paths


def _model(named: str, folder: Path) -> str:
    """Return the model as a file in `folder` names it: a folder by its path from there."""
    if not Path(named).is_dir() or Path(named).is_absolute():
        return named
    return f"./{os.path.relpath(named, folder)}"


def _experiment_text(name: str, guess: Guess, sizes: _Sizes, model: str) -> str:
    small = sizes.left <= 1000
    tokens = 2 ** (guess.longest // 2).bit_length()
    chat = guess.chat and model != MODEL
    prompt = {"format": "chat" if chat else "raw", "max_tokens": max(1024, tokens)}
    template = f"  # chat: by the tokenizer's template; {MODEL} has none" if guess.chat else ""
    question = f"Does fine-tuning {Path(model).name} help on {name}, and does the way matter?"
    return f"""\
# Written by `paribus init`; every key: docs/config.md
question: {_yaml(question)}
task: {name}_task.yaml
model: {_yaml(model)}  # {MODEL}, a folder with safetensors, or a Hub id
data:
  train_size: {sizes.train}  # of {sizes.left:,}; {FEW_SHOTS} more are kept as solved examples
  test_size: {sizes.test}  # {_tests(guess, sizes)}
  # validation_size: {sizes.validation}  # problems that `tune` chooses by
prompt: {_yaml(prompt)}{template}
training:
  epochs: {3 if small else 1}
  batch_size: {8 if small else 16}
  warmup: 0.1
# tune: {{}}  # chooses each arm's learning rate by trials; state data.validation_size too
matrix:
  method: [full, lora]  # crossed with every other factor; an untuned baseline is added
seeds: 1  # from 3 on, verdicts speak of the methods and not of these models alone
"""


def _tests(guess: Guess, sizes: _Sizes) -> str:
    return f"of {guess.test:,}" if guess.test else f"held out of {guess.train:,}: no test file"


def _yaml(value: Any) -> str:
    """Return `value` on one line of YAML: JSON, but for what is as clear without quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and not _odd(value):
        return value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _odd(word: str) -> bool:
    """Whether YAML reads a word as something else than text."""
    return word.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def _tell(guess: Guess, train: Files, test: Files | None, files: tuple[Path, Path]) -> None:
    console = PlainConsole(highlight=False)
    tests = f"; {test.named}: {guess.test:,}" if test else ""
    layout = f"layout {guess.layout}" if guess.layout else "no known layout; columns were chosen"
    used = f"{layout}: {', '.join(guess.used)}"
    metrics = [str(item["metric"]) for item in guess.keys["metric_list"]]
    lines = [
        f"{train.named}: {guess.train:,} distinct problems{tests}",
        used,
        f"prompt: {guess.sample.prompt!r}",
        f"answer: {guess.sample.answer!r}",
        f"answers are {guess.answers}; metric: {', then '.join(metrics)}",
        *([f"columns not used: {', '.join(guess.unused)}"] if guess.unused else []),
        f"wrote {files[0]} and {files[1]}: look at the prompt, then",
        f"  {command('plan', files[1], [], Path('runs'))}",
    ]
    for line in lines:
        console.print(escape(line), soft_wrap=True)
