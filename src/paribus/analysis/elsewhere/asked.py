"""Which way files are read for, as the command line asks.

way_of(["a.jsonl", "b.jsonl"], metric="f1")       # a column `f1` of theirs, else the metric
way_of(["a.jsonl", "b.jsonl"], task="sql.yaml")   # by the task's first metric
"""

from collections.abc import Sequence

from paribus.analysis.elsewhere.by_column import ByColumn, column_of
from paribus.analysis.elsewhere.by_task import by_metric, by_task
from paribus.analysis.elsewhere.sources import paths_of, task_of_run
from paribus.analysis.elsewhere.ways import Numbers, Way
from paribus.config.task_file import read_task
from paribus.errors import UserError
from paribus.evaluation.scoring import SCORERS
from paribus.records import AnswerStyle


def way_of(
    files: Sequence[str],
    *,
    task: str = "",
    metric: str = "",
    loss: str = "",
    style: AnswerStyle = "auto",
    group_by: str | None = None,
) -> Way:
    """Return what `files` are read for.

    Args:
        files: `FILE` or `NAME=FILE`.
        task: a preset, or a task file; "" for that of the first run of paribus, if one is given.
        metric: of the task; without one a key of the rows, or a metric by its name.
        loss: a key of the rows that holds a loss.
        style: what counts as a final answer that is a number.
        group_by: key that says which problems belong together.

    Raises UserError if there is no such task or metric, or if one option has no effect.
    """
    if loss and (task or metric):
        raise UserError(
            f"--loss {loss} takes a value of the rows, and --{'task' if task else 'metric'} scores "
            "their texts",
            "give one of them",
        )
    way = _way(files, task, metric, loss, style, group_by)
    if style != "auto" and not (isinstance(way, Numbers) or "number" in way.options().values()):
        raise UserError(
            f"--answer {style} has no effect: it says what counts as a number", "leave it out"
        )
    return way


def _way(
    files: Sequence[str],
    task: str,
    metric: str,
    loss: str,
    style: AnswerStyle,
    group_by: str | None,
) -> Way:
    if loss:
        return ByColumn(key=loss, loss=True, group_by=group_by)
    if task:
        return by_task(read_task(task), main=metric, style=style, group_by=group_by)
    columns = [column_of(path, metric) for _, path in paths_of(files)] if metric else []
    if columns and all(columns):
        named, key = columns[0] or ("", metric)
        return ByColumn(key=key, filter=named, group_by=group_by)
    for _, path in paths_of(files):
        if (stored := task_of_run(path)) is not None:
            return by_task(stored, main=metric, style=style, group_by=group_by)
    if metric in ("", "number", *SCORERS):
        return Numbers(style=style, main="" if metric == "number" else metric, group_by=group_by)
    return by_metric(metric, style=style, group_by=group_by)
