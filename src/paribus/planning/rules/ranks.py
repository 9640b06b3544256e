"""Rules about one run on several ranks: `torchrun --nproc-per-node N -m paribus run …`.

PB091   training.batch_size=6 over 4 ranks
PB092   evaluation.engine=vllm on 2 ranks
"""

from typing import TYPE_CHECKING

from paribus.config.peft_method import is_peft
from paribus.planning.rules.card import Facts, Rule, Severity

if TYPE_CHECKING:  # `doctor` reads no experiment file and need not wait for its schema
    from paribus.config.schema import ArmConfig


SHARDED = ("adamw", "sgd")
"""Optimizers that update each number by itself, so that a rank can update its part; as tested."""


def unsharded(config: "ArmConfig") -> list[str]:
    """Return what of an arm is not done on sharded weights."""
    asked = {
        f"training.optimizer={config.training.optimizer}": config.training.optimizer not in SHARDED,
        f"quantization={config.quantization}": config.quantization is not None,
        f"method={config.method}": is_peft(config.method),
        "lora.use_dora=true": config.method == "lora" and config.lora.use_dora,
        f"lora.init_lora_weights={config.lora.init_lora_weights}": config.method == "lora"
        and config.lora.starts_from_weights,
        "evaluation.at": config.is_validated,
    }
    return [what for what, is_asked in asked.items() if is_asked]


def _uneven(facts: Facts) -> str | None:
    size, ranks = facts.config.training.batch_size, facts.device.ranks
    if facts.config.method == "none" or size % ranks == 0:
        return None
    return f"training.batch_size={size} over {ranks} ranks"


def _not_done(facts: Facts) -> str | None:
    if facts.device.ranks == 1:
        return None
    config = facts.config
    asked = {
        f"quantization={config.quantization}": config.quantization is not None,
        f"evaluation.engine={config.evaluation.engine}": config.evaluation.engine != "paribus",
    }
    found = [what for what, is_asked in asked.items() if is_asked]
    if facts.device.parallel == "fsdp" and config.method != "none":
        found += [f"{what} with --parallel fsdp" for what in unsharded(config)]
    return f"{' and '.join(found)} on {facts.device.ranks} ranks" if found else None


def _other_draws(facts: Facts) -> str | None:
    config = facts.config
    if facts.device.ranks == 1 or config.method == "none":
        return None
    drawn = {
        f"lora.dropout={config.lora.dropout:g}": config.method == "lora"
        and config.lora.dropout > 0,
        "training.neftune_noise_alpha": config.training.neftune_noise_alpha is not None,
    }
    found = [what for what, is_drawn in drawn.items() if is_drawn]
    return f"{' and '.join(found)} on {facts.device.ranks} ranks" if found else None


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB091",
        title="A step's examples cannot be divided over the ranks",
        severity=Severity.ERROR,
        what="Some ranks would have nothing to compute in a step, or other examples than one "
        "process has in it.",
        why="The steps are those of one process, and every rank takes an equal share of each. "
        "Ranks reduce their gradients together, so none may be left out.",
        evidence=("training/batching.py: share_of",),
        instead="Start as many processes as divide training.batch_size, or change it in every arm.",
        check=_uneven,
    ),
    Rule(
        id="PB092",
        title="Not done on several ranks",
        severity=Severity.ERROR,
        what="Nothing: it is refused before anything is spent.",
        why="vLLM places a model on several GPUs in its own way, beside which ours have no room; "
        "4-bit weights on several ranks were not tested. With sharded weights (FSDP) an optimizer "
        "must update each number by itself, and a layer may read no weights but its own.",
        evidence=("running/ranks.py",),
        instead="Start `paribus run` without a launcher, or choose evaluation.engine=paribus and "
        "quantization=null.",
        check=_not_done,
    ),
    Rule(
        id="PB093",
        title="Random numbers of training are drawn by each rank",
        severity=Severity.NOTE,
        what="The loss curve is not that of one process: as with another seed, by chance. Without "
        "dropout and noise it is, up to rounding.",
        why="Every rank draws for its own examples from a stream of its own. The order of examples "
        "is the same on any number of ranks.",
        evidence=("tests/test_ranks.py: two ranks and one process, dropout 0",),
        instead="Nothing, if all arms are run on as many ranks; to compare with runs of one "
        "process set lora.dropout=0.",
        check=_other_draws,
    ),
)
