"""The report's tables of settings and circumstances: what was held equal, what was not.

config(tables).rows[0]        # ["name", "gsm8k-270m", "experiments/gsm8k.yaml:1"]
"""

from collections.abc import Mapping

from paribus.analysis.conditions import circumstances, differing_settings, shared_settings, text
from paribus.analysis.tables import Tables
from paribus.config.spec import flatten
from paribus.report.rows import Table

DEFAULT = "default"
"""Origin of a value that no file and no command line set."""

_DESIGN = ("name", "question", "hypothesis", "matrix", "arms")


def differing_table(tables: Tables) -> Table:
    """The settings in which the arms differ: an arm's value of each."""
    rows = [[key, *values.values()] for key, values in differing_settings(tables).items()]
    return Table(["setting", *(arm.name for arm in tables.arms)], rows)


def shared(tables: Tables) -> Table:
    """The settings that are equal in all arms that read them."""
    return Table(["setting", "value"], [list(row) for row in shared_settings(tables).items()])


def equal(tables: Tables) -> Table:
    """The circumstances of the runs; one that was not the same in all names its arms."""
    # Generations made elsewhere have no result, and nobody knows how they were decoded.
    ours = all(run.result for run in tables.complete)
    rows = [["decoding", "greedy: the most likely token, no sampling"]] if ours else []
    for fact, values in circumstances(tables).items():
        if len(values) == 1:
            rows.append([fact, next(iter(values))])
        else:
            listed = [f"{value} ({', '.join(names)})" for value, names in values.items()]
            rows.append([fact, "not the same in all runs: " + "; ".join(listed)])
    return Table(["circumstance", "value"], rows)


def config(tables: Tables) -> Table:
    """Every value of the configuration, with where it was set."""
    rows = []
    for key, value in flatten(tables.config).items():
        if key.split(".")[0] in _DESIGN and value in ({}, "", None):
            continue
        rows.append([key, text(value), _origin(tables.origins, key)])
    return Table(["key", "value", "set in"], rows)


def _origin(origins: Mapping[str, str], key: str) -> str:
    """The origin of a key, or of the section that was set as a whole."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return DEFAULT
