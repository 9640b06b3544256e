"""The published results: every figure of each page follows from what lies beside it."""

import re
import shlex
from pathlib import Path

import pytest

from inside import paribus

RESULTS = Path(__file__).parents[1] / "results"
COMMAND = re.compile(r"```\n\$ (paribus audit (?:.*\\\n)*.*)\n((?:.*\n)*?)```")
AUDITS = [
    pytest.param(command, printed, id=page.parent.name)
    for page in sorted(RESULTS.rglob("README.md"))
    for command, printed in COMMAND.findall(page.read_text("utf-8"))
]


@pytest.mark.parametrize(("command", "printed"), AUDITS)
def test_a_command_prints_what_the_page_says(command, printed, tmp_path):
    _, *words = shlex.split(command.replace("\\\n", " "))
    made = paribus(*words, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.rstrip() == printed.rstrip()


def test_what_the_page_of_the_original_counts_says_in_words():
    page = (RESULTS / "original_counts/README.md").read_text("utf-8")
    (_, printed), *_ = COMMAND.findall(page)
    methods = ["full-main − lora-main", "full-socratic − lora-socratic"]
    variants = ["full-main − full-socratic", "lora-main − lora-socratic"]
    assert all("open: " in rows_of(printed, pair)[0] for pair in [*methods, *variants])
    assert [rows_of(printed, pair)[0].split()[3] for pair in [*methods, *variants]] == [
        "+11.0",
        "+12.0",
        "+8.0",
        "+9.0",
    ]
    assert printed.startswith("3 of 9 differences shown")
    baseline = [line for line in printed.splitlines() if "− baseline" in line and "shown" in line]
    assert [line.endswith("not shown") for line in baseline] == [False, False, False, True]
    one, three, five, *_, smallest = rows_of(printed, methods[0])[1].split()[3:]
    assert f"{one} problems for the two trained" in page
    assert f"the methods {five} problems with 5 seeds" in page
    assert f"scatter: {three} problems" in page
    assert f"100 problems show {float(smallest):g} points" in page
    one, _, five, *_ = rows_of(printed, variants[0])[1].split()[3:]
    words = page.replace("\n", " ")
    assert f"would have taken {one} problems and one seed, or {five} and five" in words


def rows_of(printed: str, pair: str) -> list[str]:
    """The verdict of a pair of arms, and what it would have taken."""
    return [line for line in printed.splitlines() if line.startswith(f"{pair} ")]
