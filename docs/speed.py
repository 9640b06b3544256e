"""What the benchmarks of speed measured, for docs/speed.md: the newest results of each machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu import gpu_block

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"

_WHO = {
    "paribus": "paribus",
    "trl-defaults": "TRL's SFTTrainer, as it comes",
    "trl-kept": "TRL, nothing recomputed",
    "trl-bf16": "TRL, nothing recomputed, bf16 weights",
    "trainer": "transformers' Trainer",
    "lm-eval": "lm-eval, `hf`",
}
_STAGES = {
    "full": ("Full fine-tuning", "examples/s"),
    "lora": ("LoRA, rank 16 on all linear layers", "examples/s"),
    "evaluation": ("Evaluation, one-shot", "problems/s"),
}


def speed_blocks() -> dict[str, str]:
    """Return the tables of a whole experiment, of GPUs, of growth, and of each machine."""
    growth = _read(RESULTS / "growth.json")
    return {
        "whole": _each(_whole, "end-to-end"),
        "gpu": gpu_block(RESULTS),
        "growth": "\n".join(_growth(growth)),
        "machines": _each(_machine, "speed"),
    }


def _each(lines_of: Callable[[dict[str, Any], str], list[str]], kind: str) -> str:
    return "\n\n".join("\n".join(lines_of(_read(path), path.name)) for path in _newest(kind))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _whole(found: dict[str, Any], name: str) -> list[str]:
    """Return the whole experiment by paribus, and by scripts around TRL and lm-eval."""
    machine, ours, theirs = found["machine"], found["paribus"], found["peers"]
    said = " ".join([found["file"], *found["values"]])
    lines = [
        f"{found['date']}, {machine['name']}, {machine['cores']} cores, in {found['precision']},"
        f" `{name}`: `{said}`, TRL with setting `{theirs['setting']}`.",
        "",
        f"**{ours['seconds']:.0f} s against {theirs['seconds']:.0f} s:"
        f" {found['ratio']:.1f} × as fast.**",
        "",
        "| arm | paribus: training, testing, s | TRL, lm-eval: training, testing, s |"
        " solved by each |",
        "|---|---|---|---|",
    ]
    for arm, own in ours["arms"].items():
        other = theirs["arms"][arm]
        cells = [
            arm,
            *(
                ", ".join(
                    f"{of.get(f'{stage}_seconds', 0.0):.0f}" for stage in ("training", "evaluation")
                )
                for of in (own, other)
            ),
            f"{own['solved']}, {other['solved']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _growth(found: dict[str, Any]) -> list[str]:
    """Return what `make bench-growth` was measured on, and how long starting takes."""
    machine, start = found["machine"], found["start_seconds"]
    return [
        f"{found['date']}, {machine['name']}, {machine['cores']} cores: {found['model']}, in",
        f"{found['precision']} with fp32 masters.",
        "",
        "From the start of `paribus run` to that of its first optimizer step, weights cached,"
        f" probes included: {start['full']:.1f} s (full), {start['lora']:.1f} s (LoRA)."
        f" `paribus --help`: {found['help_seconds']:.2f} s.",
    ]


def _newest(kind: str) -> list[Path]:
    """Return the newest file of each machine and precision: `KIND-2026-11-23-MACHINE.json`."""
    dated = len("2026-11-23-")
    paths = sorted(RESULTS.glob(f"{kind}-*.json"))
    found = {path.stem.removeprefix(f"{kind}-")[dated:]: path for path in paths}
    return [found[machine] for machine in sorted(found)]


def _machine(found: dict[str, Any], name: str) -> list[str]:
    machine, asked, lengths = found["machine"], found["asked"], found["lengths"]
    limits = found["limits"]
    versions = ", ".join(
        f"{key} {value}"
        for key, value in machine.items()
        if key not in ("name", "cores", "memory_bytes")
    )
    data = "GSM8K" if asked["data"] == "gsm8k" else "generated problems of 4 to 5 steps"
    lines = [
        f"## {machine['name']}, {machine['cores']} cores"
        + (f", held to {held}" if (held := machine.get("ONEDNN_MAX_CPU_ISA")) else "")
        + (", in fp32" if asked["precision"] == "fp32" else ""),
        "",
        f"{found['date']}, `{name}`: {asked['model']} in {asked['precision']}, {data}.",
        f"Rounds: {len(found['rounds'])}, in {found['seconds'] / 60:.0f} minutes."
        f" Training: {asked['steps'] - 1} counted steps, {asked['trl_steps'] - 1} by TRL,"
        f" of {asked['batch']} examples of {lengths['example']:.0f} tokens,"
        f" {lengths['target']:.0f} with loss.",
        f"Evaluation: {asked['problems']} prompts of {lengths['prompt']:.0f} tokens,"
        f" {asked['eval_batch']} at once, up to {asked['new_tokens']} new tokens.",
        f"{versions}.",
        f"Ceiling {_range(limits, 'matrix_flops')} GFLOP/s in {limits[0]['precision']},"
        f" copies {_range(limits, 'copy_bytes')} GB/s.",
    ]
    for stage in _STAGES:
        lines += _stage(stage, found)
    failed = [f"- round {f['round']}, {f['name']}: {f['error']}" for f in found["failures"]]
    return [*lines, *(["", "Failed:", "", *failed] if failed else [])]


def _range(limits: list[dict[str, float]], key: str) -> str:
    values = [limit[key] / 1e9 for limit in limits]
    low, high = min(values), max(values)
    return f"{low:,.0f}" if f"{low:,.0f}" == f"{high:,.0f}" else f"{low:,.0f} to {high:,.0f}"


def _stage(stage: str, found: dict[str, Any]) -> list[str]:
    rows = {n: row for n, row in found["table"].items() if n.startswith(f"{stage}/")}
    if not rows:
        return []
    title, unit = _STAGES[stage]
    checks = {check["name"]: check for check in found["checks"]}
    lines = [
        "",
        f"### {title}",
        "",
        f"| | {unit} | peak GB | of the ceiling | paribus is × as fast | the same? |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        ratio, check = found["ratios"].get(name), checks.get(name)
        share = row.get("share_of_ceiling")
        cells = [
            _WHO[name.partition("/")[2]],
            _spread(row["per_second"], 3),
            f"{row['peak_memory_bytes'][0] / 1e9:.1f}",
            f"{100 * share:.0f} %" if share else "",
            _spread(ratio, 2) if ratio else "",
            ("" if check["ok"] else "**no**: ") + check["said"] if check else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    fastest = found["fastest_trl"].get(stage)
    if fastest:
        lines += ["", f"Against the fastest setting of TRL in each round: {_spread(fastest, 2)}."]
    return lines


def _spread(values: list[float], digits: int) -> str:
    mid, low, high = (f"{value:.{digits}f}" for value in values)
    return mid if low == high else f"{mid} ({low} to {high})"
