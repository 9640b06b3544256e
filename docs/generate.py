"""Generate the pages of docs/ that follow from code and results; with --check say what is old."""

import ast
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from calibration import calibration_page
from memory import memory_page
from reliability import reliability_page
from rules import rules_page
from scoring import scoring_page
from sequential import sequential_page
from speed import speed_page

from paribus.config import schema

DOCS = Path(__file__).parent
VERBS = (
    "plan", "run", "status", "report", "verify", "adopt", "clean", "score", "compare", "power",
    "baseline", "explain", "doctor",
)  # fmt: skip


def config_page() -> str:
    """Return the reference of every key: type, default, meaning."""
    tree = ast.parse(Path(schema.__file__).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    lines = [
        "# Every key of an experiment file",
        "",
        "Generated from `src/paribus/config/schema.py` by `make docs`. Any key can be given on the",
        "command line as `key=value`; `paribus plan FILE --explain` says where each came from.",
        "Where a key wants a text, what is written is the text: `revision: 0123456`, arms `off`",
        "and `010`. Numbers are written plainly: `100`, `0.5`, `1e-5`, not `0100` or `1:30`.",
    ]
    sections = {field.name: field.type for field in fields(schema.ArmConfig)}
    lines += _table("", classes["ExperimentConfig"]) + _table("", classes["ArmConfig"])
    for name, kind in sections.items():
        if isinstance(kind, type) and kind.__name__ in classes:
            lines += _table(name, classes[kind.__name__])
    lines += _table("baseline", classes["BaselineConfig"])
    lines += _table("contrasts", classes["ContrastConfig"])
    lines += _table("tune", classes["TuneConfig"])
    lines += _table("tune.learning_rates", classes["RateGrids"])
    return "\n".join(lines) + "\n"


def _table(prefix: str, node: ast.ClassDef) -> list[str]:
    title = f"`{prefix}.…`" if prefix else "The experiment" if "Exp" in node.name else "An arm"
    lines = ["", f"## {title}", "", ast.get_docstring(node) or "", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        meaning = after.value.value if isinstance(after, ast.Expr) else "see below"  # type: ignore[attr-defined]
        key = ast.unparse(statement.target)
        cells = [
            f"`{prefix}.{key}`" if prefix else f"`{key}`",
            f"`{ast.unparse(statement.annotation)}`",
            _default(statement.value),
            meaning.replace("\n", " "),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _default(node: ast.expr | None) -> str:
    if node is None:
        return "required"
    text = ast.unparse(node).replace("field(default_factory=dict)", "{}")
    return "see below" if text.startswith("field(") else f"`{text}`"


def cli_page() -> str:
    """Return every `--help` text."""
    lines = ["# The command line", "", "Generated from `--help` by `make docs`."]
    for words in ([], *([verb] for verb in VERBS)):
        help_text = subprocess.run(
            [sys.executable, "-m", "paribus.cli.main", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "90", "NO_COLOR": "1"},
        ).stdout
        lines += ["", f"## {' '.join(['paribus', *words])}", "", "```", help_text.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages, or with --check compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    pages = {
        "config.md": config_page(),
        "cli.md": cli_page(),
        "calibration.md": calibration_page(),
        "sequential.md": sequential_page(),
        "memory.md": memory_page(),
        "rules.md": rules_page(),
        "reliability.md": reliability_page(),
        "scoring.md": scoring_page(),
        "speed.md": speed_page(),
    }
    for name, text in pages.items():
        path = DOCS / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
