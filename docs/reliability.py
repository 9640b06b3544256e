"""What `benchmarks/faults.py` counted, for docs/reliability.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.files import read_json

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "faults.json"
GROUPS = {  # by the beginning of file and test
    "test_resume/test_interrupted": "stopped or killed in training and testing, then continued: "
    "weights, losses, texts and results bit for bit",
    "test_resume/test_whole": "whole checkpoints against those of an uninterrupted run",
    "test_resume": "what is done is not done again",
    "faults/test_kill_points/test_everything": "a power cut: what a manifest lists was synced",
    "faults/test_kill_points": "kill -9 at points of the write path",
    "faults/test_random_kills": "kill -9 of everything at random moments of training, testing "
    "and the report",
    "faults/test_damage/test_no_room": "no room for a file (RLIMIT_FSIZE)",
    "faults/test_damage/test_a_worker": "a worker that dies",
    "faults/test_damage/test_a_tokenizer": "a tokenizer changed between runs",
    "faults/test_damage/test_a_torn": "torn last lines",
    "faults/test_damage": "files of a complete run flipped, cut or lost",
    "faults/test_machines/test_a_full": "full disks",
    "faults/test_machines/test_a_clock": "a clock that goes backwards",
    "faults/test_machines/test_a_store": "a store that cannot be written",
    "faults/test_machines/test_a_loss": "a loss that is not a number",
    "faults/test_cache": "the packaged model's cache, damaged",
    "faults": "other faults",
    "test_refused_checkpoints": "checkpoints damaged, or of another run",
    "test_stopping": "Ctrl-C, SIGTERM, twice, and two commands on one experiment",
    "test_verify": "damage that `paribus verify` must name",
    "test_out_of_memory": "too little memory",
    "fuzz/test_config_fuzz": "spoiled experiment files",
    "fuzz/test_generations_fuzz": "spoiled files of generations",
    "fuzz/test_store_fuzz": "spoiled stores",
    "security": "what others may put into models, texts, files and names",
}


def reliability_blocks() -> dict[str, str]:
    """Return the table of faults: tried, survived, lost."""
    found = read_json(RESULTS)
    lines = [
        f"{found['date']}, {found['machine']['name']}, {found['machine']['cores']} cores:",
        "",
        "| fault | tried | survived | lost |",
        "|---|---|---|---|",
    ]
    groups = _grouped(found["rows"])
    for what, (tried, lost) in groups.items():
        lines.append(f"| {what} | {tried:,} | {tried - lost:,} | {lost} |")
    total, lost = (sum(each[i] for each in groups.values()) for i in (0, 1))
    lines += [f"| **all** | {total:,} | {total - lost:,} | {lost} |"]
    return {"faults": "\n".join(lines)}


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    found = {what: [0, 0] for what in GROUPS.values()}
    for row in rows:
        name = f"{row['file']}/{row['test']}"
        group = next(what for start, what in GROUPS.items() if name.startswith(start))
        found[group][0] += row["tried"]
        found[group][1] += row["lost"]
    return {what: counts for what, counts in found.items() if counts[0]}
