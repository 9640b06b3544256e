"""An experiment as a folder to publish: data, findings, report, figures, and a page about them.

    publish(ExperimentFolder(Path("runs/gsm8k")), Path("results/gsm8k"))

results/gsm8k/
  README.md          between two marks what paribus writes; around them whatever you write
  report.html        the whole report, one page
  findings.json      its figures
  outcomes.parquet   what each text was judged to be, a row each
  experiment.yaml    what was stated, to be run again
  figures/           the report's, as SVG
  texts.parquet, likelihoods.parquet, files.parquet, packed.json   see `store/packed`
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from paribus.analysis.findings import Analysis
from paribus.analysis.tables import Run, Tables
from paribus.files import read_bytes, remove, write_bytes, write_text
from paribus.report import accuracy, rows
from paribus.report.drawing import Picture, standalone
from paribus.report.page import training_figures, write_analysis
from paribus.report.rows import Table
from paribus.store.experiments import Description, read_description
from paribus.store.layout import ExperimentFolder
from paribus.store.packed import pack, write_table
from paribus.store.runs import writing
from paribus.untrusted import printable

BEGIN, END = "<!-- paribus -->", "<!-- end of paribus -->"
"""What paribus writes in a README stands between these lines."""
_PACKAGES = ("paribus", "torch", "transformers", "peft", "python")


def publish(folder: ExperimentFolder, into: Path) -> None:
    """Report the experiment in `folder` and write all of it, without weights, into `into`.

    Raises StoreError if something in it is damaged or in use, or nothing can be written.
    """
    analysis = write_analysis(folder)
    pack(folder, into)
    pictures = _pictures(analysis)
    with writing(into):
        for path, name in (
            (folder.report, "report.html"),
            (folder.findings, "findings.json"),
        ):
            write_bytes(into / name, read_bytes(path))
        write_text(into / "experiment.yaml", experiment_file(read_description(folder)))
        _write_outcomes(analysis.tables, into / "outcomes.parquet")
        remove(into / "figures")
        (into / "figures").mkdir()
        for picture in pictures:
            write_text(into / "figures" / f"{picture.name}.svg", standalone(picture.svg))
        write_text(into / "README.md", readme(analysis, pictures, _before(into / "README.md")))


def experiment_file(description: Description) -> str:
    """Return an experiment file that states what the experiment's own files stated."""
    stated = {key for key, origin in description.origins.items() if origin != "default"}
    return yaml.safe_dump(
        _stated(description.config, stated), sort_keys=False, allow_unicode=True, width=100
    )


def _stated(values: dict[str, Any], stated: set[str], above: str = "") -> dict[str, Any]:
    """Return the values whose key, or one above it, is in `stated`."""
    kept = {}
    for name, value in values.items():
        key = f"{above}.{name}" if above else name
        if key in stated:
            kept[name] = value
        elif isinstance(value, dict) and (below := _stated(value, stated, key)):
            kept[name] = below
    return kept


def readme(analysis: Analysis, pictures: list[Picture], before: str = "") -> str:
    """Return the page: what stands between the marks is written anew, the rest as `before`."""
    written = f"{BEGIN}\n\n{_page(analysis, pictures)}\n\n{END}"
    above, begins, rest = before.partition(BEGIN)
    _, ends, below = rest.partition(END)
    if begins and ends:
        return f"{above}{written}{below}"
    return f"{before}\n\n{written}\n" if before else f"{written}\n"


def outcome_rows(tables: Tables) -> Iterator[dict[str, Any]]:
    """Yield what each text of a complete run was judged to be, of the main scorer and protocol."""
    for run in tables.complete:
        yield from _outcomes(run, "")
        for name, further in run.tasks.items():
            if further.complete:
                yield from _outcomes(further, name)


def _outcomes(run: Run, task: str) -> Iterator[dict[str, Any]]:
    nats = {likelihood.problem_id: likelihood for likelihood in run.heldout}
    written = {generation.problem_id: place for place, generation in enumerate(run.generations)}
    for problem in dict.fromkeys([*written, *nats]):
        place, gold = written.get(problem), nats.get(problem)
        values = run.judged_values
        yield {
            "arm": run.arm,
            "seed": run.seed,
            "task": task,
            "problem_id": problem,
            "outcome": run.judged[place].value if place is not None else None,
            "value": values[place] if values is not None and place is not None else None,
            "tokens": run.generations[place].num_tokens if place is not None else None,
            "stop": run.generations[place].stop.value if place is not None else None,
            "gold_nats": gold.nll if gold else None,
            "gold_tokens": gold.tokens if gold else None,
        }


def _write_outcomes(tables: Tables, path: Path) -> None:
    import pyarrow as pa

    strings, whole = ("task", "problem_id", "outcome", "stop"), ("tokens", "gold_tokens")
    schema = pa.schema(
        [
            ("arm", pa.string()),
            ("seed", pa.int64()),
            *((name, pa.string()) for name in strings),
            *((name, pa.float64()) for name in ("value", "gold_nats")),
            *((name, pa.int64()) for name in whole),
        ]
    )
    write_table(path, list(outcome_rows(tables)), schema)


def _pictures(analysis: Analysis) -> list[Picture]:
    first = accuracy.figure(analysis)
    return [*([first] if first else []), *training_figures(analysis)]


def _before(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _page(analysis: Analysis, pictures: list[Picture]) -> str:
    tables = analysis.tables
    config = tables.config
    parts = [f"# {config.get('question') or config['name']}"]
    parts += [f"**{' '.join(analysis.answer)}**"] if analysis.answer else []
    if config.get("hypothesis"):
        parts.append(f"Hypothesis, as it stood in the experiment file: {config['hypothesis']}")
    parts += analysis.warnings
    arms = accuracy.over_seeds(analysis)
    parts.append(_markdown(arms if arms.rows else accuracy.runs(analysis)))
    parts += [_picture(picture) for picture in pictures[:1]]
    parts += ["## Differences", _markdown(rows.contrasts(analysis)), rows.test_note(analysis)]
    parts += [_picture(picture) for picture in pictures[1:] if picture.name == "loss-accuracy"]
    limits = [*tables.missing, *analysis.limits]
    if limits:
        parts += ["## What this does not show", "\n".join(f"- {limit}" for limit in limits)]
    parts += ["## How it was made", _markdown(_made(tables)), _commands(tables)]
    return "\n\n".join(printable(part) for part in parts if part)


def _picture(picture: Picture) -> str:
    return f"![{picture.caption}](figures/{picture.name}.svg)"


def _markdown(table: Table) -> str:
    """Return a table of the report in Markdown."""
    lines = [table.headings, ["---"] * len(table.headings), *table.rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    plain = text.replace("\u200b", "").replace("\u00ad", "")
    return plain.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _made(tables: Tables) -> Table:
    """Return what was trained and tested, where, and with what."""
    environments = [run.result.environment for run in tables.complete if run.result]

    def told(names: tuple[str, ...]) -> list[str]:
        parts = [", ".join(dict.fromkeys(f"{e[n]}" for e in environments if n in e)) for n in names]
        return [part for part in parts if part]

    versions = [f"{name} {stated}" for name in _PACKAGES for stated in told((name,))]
    config = tables.config
    facts = {
        "model": config.get("model"),
        "task": config.get("task"),
        "seeds of each arm": len({run.seed for run in tables.runs}),
        "runs": f"{len(tables.complete)} of {len(tables.runs)} complete",
        "machine": "; ".join(told(("machine", "processor"))),
        "versions": ", ".join(versions),
    }
    return Table(["", ""], [[name, str(value)] for name, value in facts.items() if value])


def _commands(tables: Tables) -> str:
    name = tables.config["name"]
    return "\n".join(
        [
            "The runs without their weights are in the Parquet files, to the byte:",
            "",
            "```",
            f"paribus unpack . --into runs/{name}      # what was run",
            f"paribus report runs/{name}               # draws every figure of this page from it",
            "paribus run experiment.yaml            # runs it again",
            "```",
        ]
    )
