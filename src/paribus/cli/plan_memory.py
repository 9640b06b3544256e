"""Memory and time of a plan, as tables."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.cli.console import captioned, table_of
from paribus.planning.devices import GB
from paribus.planning.plan import Plan
from paribus.report.units import duration, rounded


def show_memory(plan: Plan, console: Console) -> None:
    """Print what each arm takes, by part, and what other ways to train would take."""
    if not any(arm.estimate for arm in plan.arms):
        return
    device = plan.device
    console.print(
        f"\n[bold]Memory and time[/] on {escape(device.title)}, "
        f"{device.memory_bytes / GB:.1f} GB. Estimates"
        + ("; --probe measures." if device.name == "here" else ".")
    )
    console.print(_memory(plan))
    console.print()
    console.print(_times(plan))
    if plan.alternatives:
        console.print()
        console.print(_alternatives(plan))


def _memory(plan: Plan) -> Table:
    """Return each arm's peaks in GB, that of training by part."""
    table = table_of(
        ["arm"],
        ["weights", "grads", "states", "activ.", "logits", "other", "train", "cache", "test"],
    )
    for arm in plan.arms:
        row = arm.estimate
        if row is None:
            table.add_row(arm.name, *["?"] * 9)
            continue
        training, sizes = row.training, [""] * 7
        if training is not None:
            named = [training.weights, training.gradients, training.optimizer]
            named += [training.activations, training.logits]
            named.append(training.total - sum(named))
            sizes = [*(f"{size / GB:.1f}" for size in named), _peak(training.total, plan)]
        cache, test = f"{row.kv_cache_bytes / GB:.1f}", row.evaluation.total
        table.add_row(arm.name, *sizes, cache, _peak(test, plan))
    return captioned(
        table,
        "GB at the peak of training by part, and all of them; then the keys and values of a test "
        "batch, and the peak of testing. other: working copies of weights, libraries; of a GPU "
        "what torch holds beyond tensors, and the context. ! does not fit.",
    )


_OF_RANKS = (
    " Passes are those of a rank, s: each holds a part of every weight. What ranks tell each other "
    "takes time that is not counted."
)


def _times(plan: Plan) -> Table:
    """Return what each arm trains, in which batches, and how long that takes."""
    figures = ["parameters", "trained", "batch", "examples/s", "train", "at once", "test"]
    table = table_of(["arm"], figures)
    for arm in plan.arms:
        row = arm.estimate
        if row is None:
            continue
        trained = ["", "", "", ""]
        if row.training is not None:
            ways = "r" * bool(row.checkpointing) + "s" * row.sharded
            trained = [
                _count(row.trainable_parameters),
                f"{row.micro_batch}×{row.accumulation}{ways}",
                rounded(row.examples_per_second),
                duration(row.train_seconds),
            ]
        at_once = f"{row.eval_batch}{', vLLM' if row.engine == 'vllm' else ''}"
        tests = [at_once, duration(row.eval_seconds)]
        table.add_row(arm.name, _count(row.parameters), *trained, *tests)
    return captioned(
        table,
        "batch: examples of a pass × passes of a step, r: activations recomputed. at once: test "
        "problems decoded together. Times of one run, loading left out."
        + (_OF_RANKS if plan.device.ranks > 1 else ""),
    )


def probed(plan: Plan) -> Table:
    """Return measured and predicted figures side by side."""
    table = table_of(
        ["measured"], ["train GB", "predicted", "test GB", "predicted", "s/step", "run"]
    )
    stopped = []
    for arm in plan.arms:
        probe, estimate = arm.probe, arm.estimate
        if probe and probe.error:
            stopped.append(f"{arm.name}: {probe.error}")
            stopped += [f"  → {probe.remedy}"] if probe.remedy else []
        if not (probe and probe.measured and estimate):
            continue
        measured, trained = probe.measured, ["", "", ""]
        if estimate.training and measured.training_peak_bytes:
            trained = [
                _peak(measured.training_held_bytes, plan),
                f"{estimate.training.total / GB:.1f}",
                f"{measured.step_seconds:.1f}",
            ]
        table.add_row(
            arm.name,
            *trained[:2],
            _peak(measured.evaluation_held_bytes, plan),
            f"{estimate.evaluation.total / GB:.1f}",
            trained[2],
            duration(estimate.seconds),
        )
    words = "two steps at the longest batch and one evaluation batch of each arm."
    return captioned(table, "\n".join([words, *map(escape, stopped)]))


def _alternatives(plan: Plan) -> Table:
    """Return peak and speed of each way to train the model, plain and with recomputation."""
    table = table_of(
        ["other ways", "optimizer", "batch"],
        ["peak GB", "examples/s", "recomputing: GB", "examples/s"],
    )
    models = {row.model for row in plan.alternatives}
    rows = plan.alternatives
    for plain, recomputed in zip(rows[::2], rows[1::2], strict=True):
        name = "QLoRA" if plain.quantization else {"full": "full SFT"}.get(plain.method, "LoRA")
        cells = []
        for row in (plain, recomputed):
            cells.append(_peak(row.estimate.peak_bytes, plan))
            cells.append(rounded(row.estimate.examples_per_second))
        title = f"{name}, {plain.model}" if len(models) > 1 else name
        batch = f"{plain.estimate.micro_batch}×{plain.estimate.accumulation}"
        table.add_row(title, plain.optimizer.replace("_", " "), batch, *cells)
    return captioned(
        table,
        "Predicted, whatever a probe measured. QLoRA: turning its 4-bit weights into 16-bit ones "
        "is not counted as time. ! does not fit.",
    )


def _peak(size: int, plan: Plan) -> str:
    mark = "!" if size > plan.device.memory_bytes else ""
    return f"{size / GB:.1f}{mark}"


def _count(parameters: int) -> str:
    for many, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if parameters >= many:
            return f"{parameters / many:.3g} {unit}"
    return str(parameters)
