"""Values of an arm that it could not act on: right alone, and wrong together.

clashes({"training.schedule": "linear", "training.min_learning_rate": 1e-6, …}, origins, "")
# ["x.yaml:4: training.min_learning_rate=1e-06 is ignored by training.schedule='linear'; …"]
"""

import re
from collections.abc import Mapping
from typing import Any

from paribus.config.peft_method import is_peft
from paribus.config.read import Origin, find_origin
from paribus.config.schema import LoraConfig
from paribus.config.task import GENERATED

_NOT_IN_VLLM = ("lora.use_dora", "lora.modules_to_save")
_SIZES = ("data.train_size", "data.test_size")
_ADAMW = ("adamw", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "muon")
_LION = ("lion", "lion_8bit", "paged_lion_8bit")
_READERS = {"beta1": (*_ADAMW, *_LION), "beta2": (*_ADAMW, *_LION), "epsilon": _ADAMW}
"""Optimizers that read a key of `training`."""


def clashes(value: Mapping[str, Any], origins: Mapping[str, Origin], arm: str) -> list[str]:
    """Return the problems of an arm's values, by dotted key, that are right alone and not together.

    `arm` begins what is said of it. Values shared by all arms are not asked: each may yet set what
    they lack.
    """
    schedule, lowest = (value.get(f"training.{key}") for key in ("schedule", "min_learning_rate"))
    lines = []
    if lowest and schedule in ("linear", "constant", "inverse_sqrt"):
        lines.append(
            f"{find_origin('training.min_learning_rate', origins)}: {arm}"
            f"training.min_learning_rate={lowest} is ignored by training.schedule={schedule!r};"
            " set training.schedule=cosine or training.min_learning_rate=0"
        )
    if value.get("training.decay") is not None and schedule != "wsd":
        lines.append(
            f"{find_origin('training.decay', origins)}: {arm}training.decay is the share over "
            f"which training.schedule='wsd' falls, and the schedule is {schedule!r}; set "
            "training.schedule=wsd or training.decay=null"
        )
    if schedule == "inverse_sqrt" and not value.get("training.warmup"):
        lines.append(
            f"{find_origin('training.warmup', origins)}: {arm}training.schedule='inverse_sqrt' "
            "falls from the end of the warm-up, and training.warmup is 0; set training.warmup=0.03"
        )
    lines += _optimizer_problems(value, origins, arm)
    lines += _pattern_problems(value, origins, arm)
    generated = value.get("task") == GENERATED
    if value.get("data.group_by") is not None and generated:
        lines.append(
            f"{find_origin('data.group_by', origins)}: {arm}data.group_by names a key of a file, "
            f"and task={GENERATED!r} reads none; set data.group_by=null"
        )
    lines += _validation_problems(value, origins, arm)
    if value.get("quantization") is not None and value.get("evaluation.engine") == "vllm":
        lines.append(
            f"{find_origin('evaluation.engine', origins)}: {arm}evaluation.engine='vllm' does not "
            "test a base rounded here (quantization='nf4'); set evaluation.engine=paribus"
        )
    lines += _adapter_problems(value, origins, arm)
    endless = [key for key in _SIZES if value.get(key) == "all"]
    if endless and generated:
        places = [find_origin(key, origins) for key in (*endless, "task")]
        place = next((origin for origin in places if origin.kind != "default"), places[0])
        lines.append(
            f"{place}: {arm}task={GENERATED!r} has no end, so it has no"
            f" {' and '.join(f'{key}=all' for key in endless)}; set numbers, such as"
            f" {' '.join(f'{key}=100' for key in endless)}"
        )
    return lines


def _optimizer_problems(
    value: Mapping[str, Any], origins: Mapping[str, Origin], arm: str
) -> list[str]:
    """Return what is wrong with keys that the optimizer does not read, or cannot act on."""
    optimizer = value.get("training.optimizer")
    lines = [
        f"{find_origin(f'training.{key}', origins)}: {arm}training.{key} is not read by "
        f"training.optimizer={optimizer!r}; set training.{key}=null"
        for key, readers in _READERS.items()
        if value.get(f"training.{key}") is not None and optimizer not in readers
    ]
    if optimizer == "muon" and value["method"] == "lora" and value.get("lora.loraplus_lr_ratio"):
        lines.append(
            f"{find_origin('lora.loraplus_lr_ratio', origins)}: {arm}lora.loraplus_lr_ratio gives "
            "B a rate of its own, and training.optimizer='muon' has one for all matrices; set "
            "lora.loraplus_lr_ratio=null"
        )
    return lines


def _adapter_problems(
    value: Mapping[str, Any], origins: Mapping[str, Origin], arm: str
) -> list[str]:
    """Return the problems of keys that do not go with how an arm trains beside a frozen base."""
    method, vllm = value.get("method", "full"), value.get("evaluation.engine") == "vllm"
    clashes: list[tuple[str, str, str]] = []  # key, what is wrong, value that is right
    if is_peft(method):
        if value.get("quantization"):
            clashes.append(("quantization", "a base in 4 bits is tried with LoRA alone", "null"))
        if vllm:
            clashes.append(("evaluation.engine", "vLLM loads LoRA adapters alone", "paribus"))
    elif method == "lora":
        others = [key for key in _NOT_IN_VLLM if value.get(key)]
        if vllm and others:
            why = f"vLLM loads plain LoRA adapters, and {' and '.join(others)} makes another kind"
            clashes.append(("evaluation.engine", why, "paribus"))
        if LoraConfig(init_lora_weights=value.get("lora.init_lora_weights")).starts_from_weights:
            start = f"lora.init_lora_weights={value['lora.init_lora_weights']} starts from a part "
            start += "of the weights, which "
            if value.get("lora.use_dora"):
                why = f"{start}peft cannot give back beside DoRA's row lengths"
                clashes.append(("lora.use_dora", why, "false"))
            if value.get("quantization"):
                why = f"{start}4 bits give back only rounded"
                clashes.append(("quantization", why, "null"))
    return [
        f"{find_origin(key, origins)}: {arm}{key}={value[key]!r} with method={method}: {why}; "
        f"set {key}={right}"
        for key, why, right in clashes
    ]


def _pattern_problems(
    value: Mapping[str, Any], origins: Mapping[str, Origin], arm: str
) -> list[str]:
    """Return what is wrong with the names of the weights that alone are to be trained."""
    patterns = value.get("training.train_only") or ()
    place = f"{find_origin('training.train_only', origins)}: {arm}training.train_only"
    if patterns and value["method"] != "full":
        return [
            f"{place} says which weights method='full' trains, and the method is "
            f"{value['method']!r}; set it in the arms of method: full, or to []"
        ]
    lines = []
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            lines.append(f"{place}: {pattern!r} is no regular expression ({error}); "
                         "write a dot of a name as \\.")  # fmt: skip
    return lines


def _validation_problems(
    value: Mapping[str, Any], origins: Mapping[str, Origin], arm: str
) -> list[str]:
    """Return what is wrong with measuring an arm while it trains."""
    at = list(value.get("evaluation.at") or ())
    if at and value.get("data.validation_size") == 0:
        return [
            f"{find_origin('evaluation.at', origins)}: {arm}evaluation.at={at} measures on "
            "validation problems, and data.validation_size is 0; set data.validation_size=200"
        ]
    asked = [
        f"evaluation.{key}={value.get(f'evaluation.{key}')!r}"
        for key, usual in (("at_generates", False), ("checkpoint", "last"))
        if value.get(f"evaluation.{key}", usual) != usual
    ]
    return [
        f"{find_origin(text.partition('=')[0], origins)}: {arm}{text} needs moments at which the "
        "model is measured; set evaluation.at=[each_epoch]"
        for text in asked
        if not at and "evaluation.at" in value
    ]
