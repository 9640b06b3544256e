"""A whole experiment by `paribus run`, and the same by scripts around TRL and lm-eval.

    python benchmarks/end_to_end.py experiments/quickstart.yaml        # about an hour on 2 cores
    python benchmarks/end_to_end.py FILE model=/folder data.train_size=16 --setting bf16

paribus: one command, from its start to the report's end, probes and likelihoods included. The
others: for each arm a process that trains with TRL and saves, and one that tests the saved weights
with lm-eval, as their commands would; each on paribus' token ids, batches, prompts and ends of
texts. Both start with nothing but the weights of the untuned model. Written to
`benchmarks/results/end-to-end-<date>-<machine>.json`. Exits 1 if a part failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed import RESULTS, environment, part
from speed_machine import machine, slug
from speed_work import Asked, Work, lora, work_of

from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import Design, expand
from paribus.errors import UserError
from paribus.evaluation.scoring import score
from paribus.files import write_json
from paribus.models.quiet import quiet_libraries
from paribus.planning import devices
from paribus.planning.survey import settle_design
from paribus.records import Generation, Outcome, Stop
from paribus.store.layout import ExperimentFolder
from paribus.store.results import read_result
from paribus.store.runs import read_generations


def by_paribus(file: Path, values: Sequence[str], runs: Path, design: Design) -> dict[str, Any]:
    """Run the experiment and return its seconds, and each arm's solved problems."""
    command = [sys.executable, "-m", "paribus.cli.main", "run", str(file), *values]
    started = time.perf_counter()
    done = subprocess.run([*command, "--runs", str(runs)], env=environment())
    seconds = time.perf_counter() - started
    if done.returncode:
        return {"error": f"`paribus run` ended with {done.returncode}", "seconds": seconds}
    folder = ExperimentFolder(runs / design.runs[0].experiment)
    arms = {}
    for spec in design.runs:
        stored = folder.of(spec)
        result = read_result(stored.result)
        texts = read_generations(stored.generations(result.evaluation.protocol))
        arms[spec.arm] = {
            "training_seconds": result.training.seconds if result.training else 0.0,
            "evaluation_seconds": result.evaluation.seconds,
            "solved": sum(score(text, "canonical") is Outcome.CORRECT for text in texts),
        }
    return {"seconds": seconds, "arms": arms}


def by_peers(design: Design, setting: str, folder: Path) -> dict[str, Any]:
    """Do the same runs with TRL and lm-eval, and return their seconds and solved problems."""
    works = {spec.arm: _work(spec) for spec in design.runs}
    started = time.perf_counter()
    arms = {spec.arm: _arm(spec, works[spec.arm], setting, folder) for spec in design.runs}
    return {"seconds": time.perf_counter() - started, "setting": setting, "arms": arms}


def _work(spec: RunSpec) -> Work:
    config = spec.config
    asked = Asked(
        model=config.model,
        batch=config.training.batch_size,
        eval_batch=config.evaluation.at_once,
        new_tokens=config.evaluation.max_new_tokens,
        precision=config.training.computes_in,
    )
    if config.method == "lora" and config.lora != lora():
        raise UserError(f"TRL's part knows one kind of adapters, {lora()}", "set lora.* to that")
    return work_of(spec, asked, {config.method: config.training} if config.method != "none" else {})


def _arm(spec: RunSpec, work: Work, setting: str, folder: Path) -> dict[str, Any]:
    """Train, save and test one arm, each in its own process."""
    file, out, saved = folder / "work.json", folder / "out.json", folder / spec.arm
    work.write(file)
    found: dict[str, Any] = {}
    if work.training:
        started = time.perf_counter()
        trained = part(f"{spec.config.method}/trl-{setting}", file, out, saved)
        if "error" in trained:
            return {"error": trained["error"]}
        found["training_process_seconds"] = time.perf_counter() - started
        found["training_seconds"] = sum(trained["seconds"])
    started = time.perf_counter()
    tested = part("evaluation/lm-eval", file, out, saved if work.training else None)
    if "error" in tested:
        return found | {"error": tested["error"]}
    return found | {
        "evaluation_process_seconds": time.perf_counter() - started,
        "evaluation_seconds": tested["seconds"],
        "solved": _solved(work, tested["texts"]),
    }


def _solved(work: Work, texts: Sequence[str]) -> int:
    asked = zip(work.prompts, texts, strict=True)
    return sum(
        score(
            Generation(
                problem_id="",
                question=prompt["question"],
                answer=prompt["answer"],
                prompt_sha256="",
                text=text,
                num_tokens=0,
                stop=Stop.STOP_TOKEN,
            ),
            "canonical",
        )
        is Outcome.CORRECT
        for prompt, text in asked
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do both, write the results and print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="an experiment")
    parser.add_argument("values", nargs="*", help="key=value, for both")
    parser.add_argument("--setting", choices=("defaults", "kept", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path, help="file of the results")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    quiet_libraries()
    try:
        loaded = load(options.file, options.values)
        with tempfile.TemporaryDirectory(prefix="paribus-end-to-end-") as scratch:
            folder = Path(scratch)
            store = ExperimentFolder(folder / "runs" / loaded.config.name)
            design = settle_design(expand(loaded), store, devices.device_here)
            ours = by_paribus(options.file, options.values, folder / "runs", design)
            theirs = by_peers(design, options.setting, folder)
    except UserError as error:
        print(error)
        return 2
    precision = design.runs[0].config.training.computes_in
    failed = any("error" in each for each in (ours, *theirs["arms"].values()))
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine("cpu"),
        "precision": precision,
        "file": options.file.name,
        "values": options.values,
        "paribus": ours,
        "peers": theirs,
        "ratio": None if failed else theirs["seconds"] / ours["seconds"],
    }
    place = RESULTS / f"end-to-end-{results['date']}-{slug('cpu', precision)}.json"
    out = options.out or place
    write_json(out, results)
    for name, found in (("paribus", ours), ("TRL and lm-eval", theirs)):
        print(f"{name}: {found['seconds']:.0f} s", *found.get("arms", {}).items(), sep="\n  ")
    print("failed" if failed else f"paribus is {results['ratio']:.2f} times as fast", f"({out})")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
