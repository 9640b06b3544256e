"""The frame of the rule cards: ids, texts, versions, what `violations` and `card` return."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from facts import OLD_GPU, VERSIONS, facts
from paribus.errors import UserError
from paribus.planning.rules import cards
from paribus.planning.rules.card import Rule, Severity

TEXTS = ("title", "what", "why", "instead")


def made(id: str, **versions: str) -> Rule:
    """A card about the versions given, which everything violates."""
    return Rule(
        id=id,
        title="t",
        severity=Severity.NOTE,
        what="w",
        why="y",
        evidence=("e",),
        instead="i",
        versions=versions,
        check=lambda _facts: "found",
    )


def test_there_are_forty_rules_and_more_and_each_has_an_id_of_its_own() -> None:
    ids = [rule.id for rule in cards.RULES]
    assert len(ids) >= 40
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"PB\d{3}", id) for id in ids)
    assert "PB014" in ids


@pytest.mark.parametrize("rule", cards.RULES, ids=lambda rule: rule.id)
def test_a_card_is_whole(rule: Rule) -> None:
    for name in TEXTS:
        text = getattr(rule, name)
        assert text, name
        assert text == " ".join(text.split()), f"{name}: two blanks or a line break"
    assert rule.evidence
    assert all(text == " ".join(text.split()) for text in rule.evidence)
    assert len(rule.title) <= 90
    assert not rule.title.endswith(".")


@pytest.mark.parametrize("rule", [r for r in cards.RULES if r.versions], ids=lambda rule: rule.id)
def test_a_range_of_versions_has_an_upper_bound_and_holds_what_was_tested(rule: Rule) -> None:
    for package, wanted in rule.versions.items():
        assert SpecifierSet(wanted).contains(VERSIONS[package])
        assert not SpecifierSet(wanted).contains("999")


@pytest.mark.parametrize(
    ("installed", "applies"),
    [
        ({"peft": "0.21.0", "torch": "2.13.0"}, True),
        ({"peft": "0.21.2", "torch": "2.13.1+cu128"}, True),
        ({"peft": "0.21.2", "torch": "2.14.0.dev20261101"}, False),
        ({"peft": "0.22.0", "torch": "2.13.0"}, False),
        ({"peft": "0.20.9", "torch": "2.13.0"}, False),
        ({"torch": "2.13.0"}, False),
        ({}, False),
    ],
)
def test_a_card_about_versions_is_silent_about_others(
    installed: dict[str, str], applies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = made("PB999", peft=">=0.21,<0.22", torch=">=2.13,<2.14.dev0")
    monkeypatch.setattr(cards, "RULES", (rule,))
    assert rule.applies(installed) is applies
    broken = cards.violations(facts(), installed)
    assert [(v.rule.id, v.arm, v.found) for v in broken] == [("PB999", "it", "found")] * applies


def test_all_violations_come_at_once_and_errors_first() -> None:
    given = facts({"method": "full", "quantization": "nf4", "lora.r": 8}, device=OLD_GPU)
    found = [
        (violation.rule.id, violation.rule.severity.value)
        for violation in cards.violations(given, VERSIONS)
        if violation.rule.id in {"PB007", "PB009", "PB012", "PB014", "PB002"}
    ]
    assert found == [
        ("PB009", "error"),
        ("PB014", "error"),
        ("PB002", "warning"),
        ("PB007", "note"),
    ]


def test_a_card_without_a_check_is_never_violated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "RULES", (replace(made("PB998"), check=None),))
    assert cards.violations(facts(), VERSIONS) == []


@pytest.mark.parametrize("written", ["PB014", "pb014", " Pb014 "])
def test_a_card_is_found_by_its_id_in_any_case(written: str) -> None:
    assert cards.card(written).id == "PB014"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("PB14", "there is no rule 'PB14'; nearest: PB014"),
        ("pbo14", "there is no rule 'pbo14'; nearest: PB014"),
        ("lora", "there is no rule 'lora'"),
        ("", "there is no rule ''"),
    ],
)
def test_an_unknown_id_is_refused_and_the_nearest_named(written: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        cards.card(written)
    assert caught.value.message == said
    assert caught.value.remedy == "choose a rule that `paribus explain` lists"


def test_the_cards_need_no_torch() -> None:
    code = "import sys, paribus.cli.explain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
