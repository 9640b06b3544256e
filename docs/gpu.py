"""What `make bench-gpu` measured, for docs/speed.md: the newest results of each GPU and shape."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WHO = {
    "paribus": "paribus, fp32 masters",
    "trainer": "transformers' Trainer, bf16 weights, padded",
    "trainer-fp32": "transformers' Trainer, fp32 weights, padded",
    "liger": "the same with Liger's kernels, bf16 weights",
    "liger-fp32": "the same with Liger's kernels, fp32 weights",
    "trl-kept": "TRL, no padding, fp32 weights",
    "trl-bf16": "TRL, no padding, bf16 weights",
    "trl-liger": "TRL, no padding, bf16 weights, Liger's kernels",
    "unsloth": "Unsloth, bf16 weights",
    "generate": "transformers' `generate`",
    "generate-static": "the same with a static cache, compiled",
    "vllm": "vLLM",
    "lm-eval": "lm-eval, `hf`",
    "lm-eval-vllm": "lm-eval, `vllm`",
}
_METHODS = {"full": "Full fine-tuning", "lora": "LoRA, rank 16 on all linear layers"}
_MEMORY = ("peak_memory_bytes", "peak_reserved_bytes", "card_bytes")


def gpu_block(results: Path) -> str:
    """Return the tables of each GPU and shape, or that there are none."""
    newest: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for path in sorted(results.glob("gpu-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        machine = found["summary"]["machine"] or {"name": "unknown"}
        newest[machine["name"], found["asked"]["model"]] = path.name, found
    if not newest:
        return "`make bench-gpu` as it is now: **not run**."
    return "\n\n".join("\n".join(_machine(*each)) for each in newest.values())


def _machine(name: str, found: dict[str, Any]) -> list[str]:
    asked, summary = found["asked"], found["summary"]
    machine, ceilings = summary["machine"] or {}, summary["ceilings"]
    versions = [f"{key} {machine[key]}" for key in machine if key not in _PLACE]
    lines = [
        f"### {machine.get('name', 'A GPU whose name could not be had')}",
        "",
        f"{found['date']}, `{name}`: the shape of {asked['model']} with random weights,"
        f" {asked['batch']} texts a step,",
        f"{summary['tokens']:,.0f} tokens, {summary['target_tokens']:,.0f} with loss."
        f" {', '.join(versions)}.",
    ]
    if ceilings:
        lines += [
            f"Measured: {ceilings['matrix_flops'] / 1e12:,.0f} TFLOP/s in {asked['precision']},"
            f" copies {ceilings['copy_bytes'] / 1e12:.2f} TB/s.",
        ]
    for method in _METHODS:
        lines += _training(method, summary["training"])
    lines += _decoding(summary["decoding"])
    lines += _profile(summary["profile"])
    not_run = [f"- {part}: {why}" for part, why in summary["not_run"].items()]
    return [*lines, *(["", "Not run, failed or stopped:", "", *not_run] if not_run else [])]


_PLACE = ("name", "cores", "memory_bytes")


def _training(method: str, table: dict[str, Any]) -> list[str]:
    rows = {name: row for name, row in table.items() if name.startswith(f"{method}/")}
    if not rows:
        return []
    lines = [
        "",
        f"{_METHODS[method]}:",
        "",
        "| | ms a step | paribus is × as fast | TFLOP/s | of the measured, the published |"
        " GB allocated, reserved, on the card | first loss is paribus' within |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [
            _WHO[name.partition("/")[2]],
            _spread(row["ms"], 0),
            _spread(row["times"], 2) if not name.endswith("/paribus") else "",
            f"{row['useful_flops'] / 1e12:.0f}",
            ", ".join(_percent(row[key]) for key in ("of_measured", "of_published")),
            _memory(row),
            "" if row["apart"] is None or name.endswith("/paribus") else _apart(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _decoding(table: dict[str, Any]) -> list[str]:
    if not table:
        return []
    lines = [
        "",
        "Decoding, texts at once:",
        "",
        "| | texts | tokens/s | paribus is × as fast | GB allocated, reserved, on the card |",
        "|---|---|---|---|---|",
    ]
    for name, by_rows in table.items():
        who = name.partition("/")[2]
        for rows in sorted(by_rows, key=int):
            row = by_rows[rows]
            times = _spread(row["times"], 2) if who != "paribus" else ""
            cells = [_WHO[who], rows, _spread(row["per_second"], 0), times, _memory(row)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _profile(table: dict[str, Any]) -> list[str]:
    lines = [
        f"- {stage}: {row['kernels']:,} kernels, {row['launches']:,} of them launched one by one,"
        f" {row['graphs']:,} graphs, {row['stops']:,} stops, {row['device_ms']:.0f} ms of the GPU"
        for stage, row in table.items()
        if row["kernels"] is not None
    ]
    said = "paribus under torch's profiler, a step or the decoding of 16 tokens a text:"
    return ["", said, "", *lines] if lines else []


def _memory(row: dict[str, Any]) -> str:
    return ", ".join(f"{row[key] / 1e9:.1f}" for key in _MEMORY if key in row)


def _apart(row: dict[str, Any]) -> str:
    return f"{row['apart']:.1g}" if row["alike"] else f"**no: {row['apart']:.1g}**"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "not known"
    mid, low, high = (f"{value:,.{digits}f}" for value in values)
    return mid if low == high else f"{mid} ({low} to {high})"
