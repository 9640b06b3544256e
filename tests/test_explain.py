"""`paribus explain`: one card, all cards, JSON; and the page docs/rules.md."""

import importlib.util
import json
from pathlib import Path

import pytest

from paribus.cli.explain import explain
from paribus.errors import UserError
from paribus.planning.rules.card import Rule
from paribus.planning.rules.cards import RULES

KEYS = ["id", "title", "severity", "what", "why", "evidence", "instead", "versions"]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str], id: str | None, *, as_json: bool = False) -> str:
    assert explain(id, as_json=as_json) == 0
    out: str = capsys.readouterr().out
    return out


def test_a_card_reads_from_what_happens_to_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "pb014").splitlines()
    assert lines[0] == "PB014  The GPU has no bf16"
    labels = [line.split("  ")[0] for line in lines[2:] if not line.startswith(" ")]
    assert labels == ["severity", "what happens", "why", "evidence", "instead"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_card_fits_80_columns_and_loses_no_word(
    rule: Rule, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, rule.id)
    assert max(map(len, out.splitlines())) <= 80
    squeezed = "".join(out.split())
    for text in (rule.title, rule.severity.value, rule.what, rule.why, *rule.evidence):
        assert "".join(text.split()) in squeezed
    assert "".join(rule.instead.split()) in squeezed
    assert all(f"{name}{wanted}" in squeezed for name, wanted in rule.versions.items())


def test_brackets_are_text_and_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert "lora.targets=[q_proj" in printed(capsys, "PB004")


def test_the_list_has_every_card_under_its_severity(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, None)
    assert max(map(len, out.splitlines())) <= 80
    heads = [out.index(word) for word in ("errors: ", "warnings: ", "notes: ")]
    assert heads == sorted(heads)
    ends = [*heads[1:], len(out)]
    parts = {name: out[a:b] for name, a, b in zip(("error", "warning", "note"), heads, ends,
                                                  strict=True)}  # fmt: skip
    for rule in RULES:
        assert f"\n{rule.id}  " in parts[rule.severity.value]


def test_one_card_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(printed(capsys, "pb015", as_json=True))
    assert list(made) == KEYS
    assert (made["id"], made["severity"]) == ("PB015", "warning")
    assert made["versions"] == {"torch": ">=2.13,<2.14"}
    assert [type(source) for source in made["evidence"]] == [str, str]


def test_all_cards_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(printed(capsys, None, as_json=True))
    assert [each["id"] for each in made] == [rule.id for rule in RULES]
    assert all(list(each) == KEYS for each in made)


def test_an_unknown_card_prints_nothing_and_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match="there is no rule 'PB14'; nearest: PB014"):
        explain("PB14", as_json=True)
    assert capsys.readouterr().out == ""


def test_the_page_lists_every_card_and_links_to_it() -> None:
    path = Path(__file__).parents[1] / "docs" / "rules.py"
    spec = importlib.util.spec_from_file_location("rules_page_maker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page: str = module.rules_blocks()["cards"]
    for rule in RULES:
        assert page.count(f"\n## {rule.id}\n") == 1
        title = rule.title.replace("<", "\\<")
        assert page.count(f"- [{rule.id}](#{rule.id.lower()}) {title}\n") == 1
    assert "exactly one \\<bos>" in page
