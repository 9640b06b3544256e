"""A task that lm-evaluation-harness's own code asks and scores, in `evaluation.tasks`.

    task_by_lm_eval("lm_eval/arc_easy", Path("…/arc_easy.yaml"), values, trusted=False)
    # Task(task="lm_eval-arc_easy", metric_list=[{"metric": "lm_eval:acc", …}, …], by_lm_eval=…)

Whatever lm-eval can do may stand in its file. Its figures are taken as they are, a value for each
document; metrics that are one figure of all documents are left out.
"""

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paribus.config.installed import tasks_folder
from paribus.config.read import shown_path
from paribus.config.task import FUNCTION, Task, task_from
from paribus.config.task_faults import TRUST
from paribus.errors import ConfigError
from paribus.files import sha256_of_file, sha256_of_json

PREFIX = "lm_eval/"
"""Begins the name of a task that lm-eval's own code asks and scores."""
METRIC = "lm_eval:"
"""Begins the name of one of its metrics."""
_BINARY = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
"""lm-eval's metrics that are 0 or 1 for each document."""
_USUAL = {
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
    "loglikelihood": ("acc",),
    "loglikelihood_rolling": (),
}
"""Its metrics with a value for each document, where a task states none."""
_NAMED = re.compile(rf'"{FUNCTION} ([^":]*)')


def task_by_lm_eval(path: Path, values: Mapping[Any, Any], *, trusted: bool) -> Task:
    """Return the task in `path`, whose merged `values` are these.

    Raises ConfigError if none of its metrics has a value for each document; if it runs what a model
    writes; or if it names code, is not one of the installed package, and is not `trusted`.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", str(values.get("task", path.stem)))
    where = f"{shown_path(path)}: the task {name}"
    files = sorted({Path(path.parent, file) for file in _NAMED.findall(json.dumps(values))})
    folder = tasks_folder()
    installed = folder is not None and path.is_relative_to(folder)
    if values.get("unsafe_code"):
        raise ConfigError(f"{where} runs code that a model writes", "leave it out")
    if not (files == [] or trusted or installed):
        raise ConfigError(f"{where} names code, in {files[0]}", f"read it; it is run where {TRUST}")
    kept = [metric for metric in _metrics(values) if metric is not None]
    if not kept:
        raise ConfigError(
            f"{where} has no metric with a value for each document: its metrics are figures of all "
            "documents together, such as bleu, or losses",
            "leave it out",
        )
    made_from = [values, [sha256_of_file(file) for file in files if file.is_file()]]
    return task_from(
        {
            "task": f"lm_eval-{name}",
            "num_fewshot": values.get("num_fewshot", 0),
            "metric_list": kept,
            "folder": str(path.absolute().parent),
            "by_lm_eval": {
                "version": version("lm_eval"),
                "sha256": sha256_of_json(json.loads(json.dumps(made_from, default=str))),
            },
        }
    )


def _metrics(values: Mapping[Any, Any]) -> list[dict[str, Any] | None]:
    """Return our items for its metrics behind each of its filters; None for one that is left out.

    A metric has a value for each document if its mean is the task's figure.
    """
    stated = values.get("metric_list")
    kind = str(values.get("output_type", "generate_until"))
    items = [{"metric": name} for name in _USUAL.get(kind, ())] if stated is None else stated
    filters = [entry["name"] for entry in values.get("filter_list") or ()]
    labels = [f"{name}/" for name in filters] if len(filters) > 1 else [""]
    return [_metric(item, label, values) for label in labels for item in items]


def _metric(
    item: Mapping[str, Any], label: str, values: Mapping[Any, Any]
) -> dict[str, Any] | None:
    name = str(item["metric"])
    if item.get("aggregation", "mean" if name in _BINARY else None) != "mean":
        return None
    binary = name in _BINARY and not values.get("process_results")
    return {"metric": f"{METRIC}{label}{name.rpartition(':')[2]}", "binary": binary}
