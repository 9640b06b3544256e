"""One part of benchmarks/speed.py or speed_gpu.py, in its own process.

python benchmarks/peer.py WORK OUT full/trl-bf16 [FOLDER]    # writes OUT: losses, seconds, memory

A name is what is done, and who does it: `full/…`, `lora/…`, `evaluation/…` (whole texts),
`decoding/…` (so many tokens of each), `profile/…` or `ceilings/machine`. FOLDER, for speed.py: TRL
saves the weights to it, and lm-eval tests those; for speed_gpu.py: it holds the weights, for who
reads them from nowhere else (`written/weights` puts them there).
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()

NEEDS: Mapping[str, tuple[str, ...]] = {
    "trl-defaults": ("trl", "datasets"),
    "trl-kept": ("trl", "datasets"),
    "trl-bf16": ("trl", "datasets"),
    "trl-liger": ("trl", "datasets", "liger_kernel"),
    "liger": ("liger_kernel",),
    "liger-fp32": ("liger_kernel",),
    "unsloth": ("unsloth", "trl", "datasets"),
    "lm-eval": ("lm_eval",),
    "vllm": ("vllm",),
    "lm-eval-vllm": ("lm_eval", "vllm"),
}
"""What a peer needs beside the packages that paribus needs."""


def missing(name: str) -> list[str]:
    """Return the packages that the part `name` needs and that are not installed."""
    needed = NEEDS.get(name.partition("/")[2], ())
    return [package for package in needed if find_spec(package) is None]


def run(
    name: str,
    work_file: Path,
    scratch: Path,
    folder: Path | None,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Do the part `name` of the work and return what was measured.

    `scratch` is for the Trainer's own files. `keep` is told what has been measured so far.
    """
    if name.endswith("/unsloth"):
        import unsloth  # noqa: F401  # it replaces parts of what is imported after it
    from paribus.models.quiet import quiet_libraries

    quiet_libraries()
    from speed_work import Work

    work = Work.read(work_file)
    stage, who = name.split("/")
    if stage == "evaluation":
        return _evaluate(who, work, folder)
    if stage in ("full", "lora"):
        return _train(who, work, stage, scratch, folder)
    if stage == "profile":
        import peer_profile

        return peer_profile.profile_work(work, who, scratch)
    if stage == "ceilings":
        from speed_machine import machine, measure_limits, published_flops

        return {
            "machine": machine(work.asked.device),
            "published_flops": published_flops(work.asked.device, work.asked.precision),
            **measure_limits(work.asked.device, work.asked.precision),
        }
    assert folder is not None
    if stage == "written":
        from speed_model import written

        return {"folder": str(written(work.asked, folder))}
    import peer_decoding

    return peer_decoding.decode_work(work, who, folder, keep)


def _evaluate(who: str, work: Any, saved: Path | None) -> dict[str, Any]:
    if who == "lm-eval":
        import peer_lmeval

        return peer_lmeval.evaluate_work(work, saved)
    import peer_paribus

    return peer_paribus.evaluate_work(work)


def _train(who: str, work: Any, method: str, scratch: Path, folder: Path | None) -> dict[str, Any]:
    if who.startswith("trl"):
        import peer_trl

        setting = who.removeprefix("trl-")
        if folder:
            return peer_trl.train_work(work, method, folder, setting=setting, save=True)
        return peer_trl.train_work(
            work.first(work.asked.trl_steps), method, scratch, setting=setting
        )
    if who == "unsloth":
        import peer_unsloth

        assert folder is not None
        return peer_unsloth.train_work(work, method, scratch, folder)
    if who == "paribus":
        import peer_paribus

        return peer_paribus.train_work(work, method, scratch)
    import peer_trainer

    return peer_trainer.train_work(work, method, scratch, setting=who)


def main() -> int:
    """Run the part that the command line names and write what was measured."""
    work, out, name, *folder = sys.argv[1:]

    def keep(found: dict[str, Any]) -> None:
        from paribus.files import write_json

        write_json(Path(out), found | {"process_seconds": time.perf_counter() - STARTED})

    with tempfile.TemporaryDirectory() as scratch:
        at = Path(folder[0]) if folder else None
        keep(run(name, Path(work), Path(scratch), at, keep))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
