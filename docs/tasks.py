"""Blocks of tasks.md: what `config/task`, the layouts, metrics and filters say of themselves."""

from collections.abc import Mapping
from types import ModuleType

from paribus.config.task_faults import UNSUPPORTED
from paribus.data.layouts import LAYOUTS
from paribus.evaluation import filters, metrics


def task_blocks() -> dict[str, str]:
    """Return the tables of layouts, metrics, filters and of what is refused."""
    prompts = {
        f"{layout.name}: {' and '.join(f'`{column}`' for column in layout.columns)}": (
            "the turns before" if layout.conversation else f"`{layout.text!r}`"
        )
        for layout in LAYOUTS
    }
    return {
        "layouts": _table(("layout: columns", "prompt"), prompts),
        "metrics": _table_in(metrics),
        "filters": _table_in(filters),
        "refused": _table(
            ("key", "instead"), {f"`{key}`": text for key, text in UNSUPPORTED.items()}
        ),
    }


def _table(header: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [header, ("---", "---"), *rows.items()]
    return "\n".join(f"| {key} | {text.replace('|', chr(92) + '|')} |" for key, text in lines)


def _table_in(module: ModuleType) -> str:
    """Return the table of a module's docstring."""
    lines = (module.__doc__ or "").splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))
