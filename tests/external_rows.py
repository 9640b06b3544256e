"""The same answers to twelve questions in every layout that `paribus compare` reads."""

import json
from pathlib import Path
from typing import Any

from paribus.records import Generation, problem_id
from paribus.store.runs import as_generation

QUESTIONS = [f"Tom has {n} pens and buys 1. How many?" for n in range(12)]
GOLD = [
    {"question": asked, "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1} pens\n#### {n + 1}"}
    for n, asked in enumerate(QUESTIONS)
]
RIGHT = {n: f"#### {n + 1}" for n in range(12)}
FIRST = {**RIGHT, 3: "#### 0", 4: "#### 0", 5: "", 6: "It is 7."}
SECOND = {**RIGHT, 0: "#### 0", 6: "####7"}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def plain(texts: dict[int, str]) -> list[dict[str, Any]]:
    return [{"id": n, "completion": text} for n, text in texts.items()]


def asked(texts: dict[int, str]) -> list[dict[str, Any]]:
    return [{**GOLD[n], "completion": text} for n, text in texts.items()]


def harness(texts: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {"doc_id": n, "doc": GOLD[n], "resps": [[text]], "filter": name}
        for name in ("strict-match", "flexible-extract")
        for n, text in texts.items()
    ]


def own(texts: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "problem_id": problem_id(QUESTIONS[n]),
            "question": QUESTIONS[n],
            "answer": str(n + 1),
            "prompt_sha256": "0" * 64,
            "text": text,
            "num_tokens": 5,
            "stop": "stop_token",
        }
        for n, text in texts.items()
    ]


def generations(texts: dict[int, str]) -> list[Generation]:
    """What a run that wrote `texts` stores."""
    return [as_generation(row) for row in own(texts)]


def strict_json(text: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
