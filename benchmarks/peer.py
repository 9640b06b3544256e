"""One peer's part of benchmarks/speed.py, in its own process.

python benchmarks/peer.py WORK OUT full/trl-bf16     # writes OUT: losses, seconds, peak memory

A name is `full/…`, `lora/…` or `evaluation/…`, and who does it. Behind it may stand a folder:
TRL saves the weights to it, and lm-eval tests those.
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()

NEEDS: Mapping[str, str] = {
    "paribus": "paribus",
    "trl-defaults": "trl",
    "trl-kept": "trl",
    "trl-bf16": "trl",
    "trainer": "transformers",
    "lm-eval": "lm_eval",
}
"""Each peer's package."""

TRAINING = ("paribus", "trl-defaults", "trl-kept", "trl-bf16", "trainer")
EVALUATION = ("paribus", "lm-eval")
NAMES = (
    *(f"{method}/{who}" for method in ("full", "lora") for who in TRAINING),
    *(f"evaluation/{who}" for who in EVALUATION),
)
"""All parts, in the order in which a round does them."""


def run(name: str, work_file: Path, folder: Path, saved: Path | None) -> dict[str, Any]:
    """Do the part `name` of the work and return what was measured.

    `folder` is for the Trainer's own files. Weights are saved to `saved` by TRL, and tested from
    there by lm-eval, if it is given.
    """
    from paribus.models.quiet import quiet_libraries

    quiet_libraries()
    from speed_work import Work

    work = Work.read(work_file)
    stage, who = name.split("/")
    if stage == "evaluation":
        return _evaluate(who, work, saved)
    return _train(who, work, stage, folder, saved)


def _evaluate(who: str, work: Any, saved: Path | None) -> dict[str, Any]:
    if who == "lm-eval":
        import peer_lmeval

        return peer_lmeval.evaluate_work(work, saved)
    import peer_paribus

    return peer_paribus.evaluate_work(work)


def _train(who: str, work: Any, method: str, folder: Path, saved: Path | None) -> dict[str, Any]:
    if who.startswith("trl"):
        import peer_trl

        setting = who.removeprefix("trl-")
        if saved:
            return peer_trl.train_work(work, method, saved, setting=setting, save=True)
        return peer_trl.train_work(
            work.first(work.asked.trl_steps), method, folder, setting=setting
        )
    if who == "trainer":
        import peer_trainer

        return peer_trainer.train_work(work, method, folder)
    import peer_paribus

    return peer_paribus.train_work(work, method, folder)


def main() -> int:
    """Run the part that the command line names and write what was measured."""
    work, out, name, *saved = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = run(name, Path(work), Path(folder), Path(saved[0]) if saved else None)
    from paribus.files import write_json

    write_json(Path(out), found | {"process_seconds": time.perf_counter() - STARTED})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
