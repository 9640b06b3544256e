"""An experiment's values as they are on any machine: without folders and trackers.

    portable({"model": "/models/tiny", "data": {"path": "/rows"}})  # {"model": "tiny", "guard": {}}

Two stores, or a store and a file, hold one experiment if these values agree.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paribus.config.keys import named_key
from paribus.config.nested import flatten
from paribus.config.spec import EXECUTION


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config by dotted key, without what changes nothing: folders, trackers."""
    flat = flatten(json.loads(json.dumps(config)))
    if "data.source" in flat:  # what the task was called in earlier versions
        flat["task"] = flat.pop("data.source")
    # One value: a guard may be there for the first time.
    flat = {key: value for key, value in flat.items() if not key.startswith("guard.")}
    flat["guard"] = config.get("guard") or {}
    if isinstance(entries := flat.get("evaluation.tasks"), list):
        flat["evaluation.tasks"] = [_unmoved_entry(entry) for entry in entries]
    return {
        key: _unmoved(value) if named_key(key) in ("model", "task") else value
        for key, value in flat.items()
        if named_key(key) not in EXECUTION
    }


def _unmoved_entry(entry: Any) -> Any:
    """Return an entry of `evaluation.tasks` without folders, its settings stated."""
    stated = entry if isinstance(entry, dict) else {"task": entry}
    return {"test_size": None, "protocol": None, **stated, "task": _unmoved(stated.get("task")),
            "path": None}  # fmt: skip


def _unmoved(model: Any) -> Any:
    """Return a model's folder by its name alone: a store may come from another machine."""
    if isinstance(model, list):
        return [_unmoved(item) for item in model]
    return Path(model).name if isinstance(model, str) and Path(model).is_absolute() else model
