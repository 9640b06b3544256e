"""Fill the blocks of docs/ that follow from code and results; with --check say what is old."""

import ast
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

from blocks import filled
from calibration import calibration_blocks
from memory import memory_blocks
from real_scores import real_score_blocks
from reliability import reliability_blocks
from rules import rules_blocks
from scale import scale_blocks
from scoring import scoring_blocks
from sequential import sequential_blocks
from speed import speed_blocks
from tasks import task_blocks
from tuning import tuning_blocks

from paribus.config import schema, task

DOCS = Path(__file__).parent
VERBS = (
    "init", "plan", "run", "status", "report", "verify", "merge", "adopt", "clean", "score",
    "compare", "publish", "unpack", "replay", "power", "audit", "baseline", "explain", "doctor",
)  # fmt: skip


def config_blocks() -> dict[str, str]:
    """Return the reference of every key: type, default, meaning."""
    classes = _classes(schema)
    sections = {field.name: field.type for field in fields(schema.ArmConfig)}
    lines = _table("", classes["ExperimentConfig"]) + _table("", classes["ArmConfig"])
    for name, kind in sections.items():
        if isinstance(kind, type) and kind.__name__ in classes:
            lines += _table(name, classes[kind.__name__])
    lines += _table("baseline", classes["BaselineConfig"])
    lines += _table("contrasts", classes["ContrastConfig"])
    lines += _table("tune", classes["TuneConfig"])
    lines += _table("tune.learning_rates", classes["RateGrids"])
    return {"keys": "\n".join(lines).lstrip("\n")}


def task_key_blocks() -> dict[str, str]:
    """Return the reference of every key of a task file; its place is no key."""
    lines = _keys("", _classes(task)["Task"])
    place = ("| `folder`", "| `source`", "| `code`", "| `by_lm_eval`")
    return {"keys": "\n".join(line for line in lines if not line.startswith(place))}


def _classes(module: ModuleType) -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _table(prefix: str, node: ast.ClassDef) -> list[str]:
    title = f"`{prefix}.…`" if prefix else "The experiment" if "Exp" in node.name else "An arm"
    return ["", f"## {title}", "", ast.get_docstring(node) or "", "", *_keys(prefix, node)]


def _keys(prefix: str, node: ast.ClassDef) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        meaning = after.value.value if isinstance(after, ast.Expr) else "see below"  # type: ignore[attr-defined]
        key = ast.unparse(statement.target)
        cells = [
            f"`{prefix}.{key}`" if prefix else f"`{key}`",
            f"`{ast.unparse(statement.annotation)}`",
            _default(statement.value),
            " ".join(meaning.split()),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _default(node: ast.expr | None) -> str:
    if node is None:
        return "required"
    text = ast.unparse(node).replace("field(default_factory=dict)", "{}")
    text = text.replace("preset(GENERATED)", repr(task.GENERATED))
    return "see below" if text.startswith("field(") else f"`{text}`"


def cli_blocks() -> dict[str, str]:
    """Return every `--help` text."""
    lines: list[str] = []
    for words in ([], *([verb] for verb in VERBS)):
        help_text = subprocess.run(
            [sys.executable, "-m", "paribus.cli.main", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "90", "NO_COLOR": "1"},
        ).stdout
        lines += ["", f"## {' '.join(['paribus', *words])}", "", "```", help_text.rstrip(), "```"]
    return {"help": "\n".join(lines).lstrip("\n")}


PAGES = {
    "config.md": config_blocks,
    "tasks.md": lambda: task_key_blocks() | task_blocks(),
    "cli.md": cli_blocks,
    "calibration.md": lambda: calibration_blocks() | real_score_blocks(),
    "sequential.md": sequential_blocks,
    "memory.md": memory_blocks,
    "rules.md": rules_blocks,
    "reliability.md": reliability_blocks,
    "scale.md": scale_blocks,
    "scoring.md": scoring_blocks,
    "speed.md": speed_blocks,
    "tuning.md": tuning_blocks,
}


def main() -> int:
    """Fill the pages, or with --check compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, blocks in PAGES.items():
        path = DOCS / name
        written = path.read_text(encoding="utf-8")
        new = filled(name, written, blocks())
        if check and written != new:
            stale.append(name)
        elif not check:
            path.write_text(new, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
