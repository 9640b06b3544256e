"""Where a task of the installed lm-evaluation-harness is stated: the file, by the task's name.

    task_place("arc_easy")                            # …/lm_eval/tasks/arc/arc_easy.yaml

lm-eval's own index takes 7 seconds, as it parses all of its 14,000 files; here only the lines that
state a name are read. The first file in the order of their paths counts, as there.
"""

import re
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from paribus.errors import ConfigError

_NAME = re.compile(
    rb"""^["']?(task|group|class)["']?[ \t]*:[ \t]*"""
    rb"""(["']?)([^\s"'\[#][^"'\n]*?)\2[ \t]*(?:#.*)?\r?$""",
    re.MULTILINE,
)


def task_place(name: str) -> Path | None:
    """Return the file that states lm-eval's task `name`; None if there is no such task.

    Raises ConfigError if it is a group of tasks.
    """
    tasks, groups = _stated(tasks_folder())
    if name not in tasks and name in groups:
        raise ConfigError(
            f"task={name!r} is a group of lm-eval's tasks: {groups[name]} lists them",
            "name one of its tasks",
        )
    return tasks.get(name)


def task_names() -> list[str]:
    """Return the names of all of lm-eval's tasks; of none if it is not installed."""
    return list(_stated(tasks_folder())[0])


def alike(name: str) -> str:
    """Return the names of lm-eval's that are nearly `name`, in parentheses, or nothing."""
    names = get_close_matches(name, task_names(), 3)
    return f" (lm-eval has {', '.join(names)})" if names else ""


def tasks_folder() -> Path | None:
    """Return the folder of lm-eval's tasks; None if it is not installed."""
    spec = find_spec("lm_eval")
    return Path(spec.origin).parent / "tasks" if spec and spec.origin else None


@lru_cache(maxsize=1)
def _stated(folder: Path | None) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the files below `folder` by the tasks, and by the groups, that they state."""
    tasks: dict[str, Path] = {}
    groups: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml") if folder else (), key=Path.as_posix):
        names = {kind: name.decode() for kind, _, name in _NAME.findall(path.read_bytes())}
        if b"group" in names and b"class" not in names:
            groups.setdefault(names[b"group"], path)
        elif b"task" in names:
            tasks.setdefault(names[b"task"], path)
    return tasks, groups
