"""The command line's edges: usage, pairs that exclude each other, widths."""

from pathlib import Path

import pytest
from rich.console import Console

from inside import paribus
from paribus.cli.console import table_of
from paribus.cli.main import main

FILE = str(Path(__file__).parents[1] / "experiments" / "gsm8k_gemma_2b.yaml")
REFUSED = [  # words, and what is said below the verb's own usage
    ("plan", "the following arguments are required: file"),
    ("plan x.yaml --bogus", "unrecognized arguments: --bogus"),
    ("plan x.yaml --explain --json", "argument --explain: not allowed with argument --json"),
    ("plan x.yaml --explain --probe", "argument --explain: not allowed with argument --probe"),
    ("plan x.yaml --device l4-24gb --probe",
     "argument --probe: not allowed with argument --device"),
    ("doctor a=b", "unrecognized arguments: a=b"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_a_wrong_word_is_told_with_the_usage_of_its_verb(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    verb = words.split()[0]
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.startswith(f"usage: paribus {verb} [-h]")
    assert errors.endswith(f"\nparibus {verb}: error: {message}\n")


def test_no_name_is_no_device(tmp_path):
    made = paribus("plan", FILE, "--device", "", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr.startswith("error: no device is called ''\n")


def printed(width: int) -> list[str]:
    table = table_of(["arm"], ["weights", "gradients", "states", "logits", "training"])
    table.add_row("full-socratic-original", "10.0", "10.0", "8.2", "4.3", "33.7!")
    table.add_row("baseline")
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


WIDTHS = {
    80: [
        "arm                     weights  gradients  states  logits  training",
        "full-socratic-original     10.0       10.0     8.2     4.3     33.7!",
        "baseline",
    ],
    64: [  # the gaps go first
        "arm                    weights gradients states logits training",
        "full-socratic-original    10.0      10.0    8.2    4.3    33.7!",
        "baseline",
    ],
    56: [  # then names
        "arm             weights gradients states logits training",
        "full-socratic-o    10.0      10.0    8.2    4.3    33.7!",
        "riginal",
        "baseline",
    ],
    48: [  # then headings
        "             weight gradie state",
        "arm               s    nts     s logits training",
        "full-socrati   10.0   10.0   8.2    4.3    33.7!",
        "c-original",
        "baseline",
    ],
}


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_narrow_terminal_leaves_of_a_table(width):
    assert printed(width) == WIDTHS[width]


def test_a_table_of_words_keeps_the_first_whole():
    table = table_of(["key", "value", "from"])
    table.add_row("training.target_tokens", "a value of some length", "configs/base.yaml:22")
    console = Console(width=56)
    with console.capture() as captured:
        console.print(table)
    assert captured.get().splitlines()[1].startswith("training.target_tokens a value")


@pytest.mark.parametrize("width", range(38, 70))
def test_no_number_is_lost(width):
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert any(line.split()[-5:] == ["10.0", "10.0", "8.2", "4.3", "33.7!"] for line in lines)
