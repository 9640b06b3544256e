"""What a run measured, as one type: the content of `result.json`, which only this module reads.

    result = read_result(folder.result)
    result.evaluation.protocol              # "zero_shot/raw"
    result.training.examples_per_second     # 27.3, None where nothing was trained

A figure that an earlier version did not record is None. A key that this version does not know is
kept. Scores are not stored: they are computed from the generations.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from paribus.errors import DamagedError
from paribus.files import read_json, write_json
from paribus.store.layout import reading_of

LIKELIHOOD = "likelihood"
"""What a reading of gold solutions, of which nothing is generated, is called."""


class Recorded(BaseModel):
    """Facts of a JSON file. A value of another type, NaN and infinity raise ValidationError."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    def record(self) -> dict[str, Any]:
        """Return the facts that are set, ready for JSON, in the order of the attributes."""
        return self.model_dump(exclude_unset=True)


class TrainingCost(Recorded):
    """What training took, and how it went.

    Attributes:
        steps: optimizer steps.
        examples: seen, over all epochs.
        seconds: of all steps.
        examples_per_second: without the steps that warm up, as the two below.
        tokens_per_second: prompt and target tokens.
        target_tokens_per_second: tokens with loss.
        target_tokens: tokens with loss, over all epochs.
        first_loss: of the first step, in nats per target token.
        final_loss: median of the last four steps, in nats per target token.
        peak_memory_bytes: of the process, or of tensors on the GPU, while it trained.
        peak_reserved_bytes: what torch held of the GPU meanwhile, tensors or not; None on a CPU.
        trainable_parameters: how many numbers the optimizer updates.
        total_parameters: of the whole model.
        train_examples: different examples.
        dropped_too_long: examples left out because they are over `prompt.max_tokens`.
    """

    steps: int | None = None
    examples: int | None = None
    seconds: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    target_tokens_per_second: float | None = None
    target_tokens: int | None = None
    first_loss: float | None = None
    final_loss: float | None = None
    peak_memory_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    train_examples: int | None = None
    dropped_too_long: int | None = None


class EvaluationCost(Recorded):
    """What generating texts under one protocol took.

    Attributes:
        protocol: its full name; "" of a part of the problems, before it is known for all.
        problems: how many were tested.
        seconds: of all of them.
        problems_per_second: the mean rate.
        generated_tokens: stop tokens included.
        peak_memory_bytes: of the process, or of tensors on the GPU; None if vLLM decoded, which
            does not say.
        peak_reserved_bytes: what torch held of the GPU, tensors or not; None on a CPU.
    """

    protocol: str = ""
    problems: int
    seconds: float | None = None
    problems_per_second: float | None = None
    generated_tokens: int | None = None
    peak_memory_bytes: int | None = None
    peak_reserved_bytes: int | None = None


def most_reserved(peaks: Iterable[int | None]) -> dict[str, Any]:
    """Return the highest `peak_reserved_bytes` by this name; nothing where none is known."""
    known = [peak for peak in peaks if peak is not None]
    return {"peak_reserved_bytes": max(known)} if known else {}


class LikelihoodSummary(Recorded):
    """How likely the model finds the gold solutions after the main protocol's prompts.

    Attributes:
        variant: how the gold solutions are written, `main` or `socratic`.
        problems: how many were measured.
        tokens: of all gold solutions.
        undefined: problems for which the model gave no valid distribution.
        nll_per_token: mean negative log-likelihood in nats; None if any problem is undefined.
        nll_per_problem: the same per problem.
        seconds: of all of them.
    """

    variant: str = ""
    problems: int
    tokens: int | None = None
    undefined: int | None = None
    nll_per_token: float | None = None
    nll_per_problem: float | None = None
    seconds: float | None = None


class Validated(Recorded):
    """What a model in training came to on the validation problems, at one moment.

    Attributes:
        step: optimizer steps that were done.
        examples: seen so far, as the two below.
        tokens: prompt and target tokens.
        target_tokens: tokens with loss.
        seconds: that training had taken, without any of these measurements.
        heldout: likelihood of the gold solutions.
        evaluation: what generating took; None if nothing was generated, as the rest.
        scorer: name of the task's main scorer.
        score: the mean of its values, from 0 to 1.
        outcomes: how many texts came to what.
        peak_memory_bytes: of the process or the GPU during the measurement.
    """

    step: int
    examples: int
    tokens: int
    target_tokens: int
    seconds: float
    heldout: LikelihoodSummary
    evaluation: EvaluationCost | None = None
    scorer: str | None = None
    score: float | None = None
    outcomes: dict[str, int] | None = None
    peak_memory_bytes: int | None = None

    @property
    def loss(self) -> float | None:
        """Nats per token of the gold solutions; None if any is undefined."""
        return self.heldout.nll_per_token


class DataCounts(Recorded):
    """How many problems there were, and how many occur in more than one set.

    Attributes:
        train_problems: problems trained on.
        test_problems: problems tested.
        validation_problems: problems that learning rates or checkpoints are chosen on.
        train_duplicates: repeated questions left out of the training problems.
        other_gold: how many of these had another gold answer; None for none.
        test_duplicates: repeated questions left out of the test problems.
        overlap: test questions left out of the training problems.
        overlap_exact: pair of sets, as `test_in_train` -> problems that occur whole.
        overlap_13gram: the same -> problems that share 13 words in a row.
        test_variant: how the test problems' gold solutions are written.
        shot_id: the problem shown as the solved example.
    """

    train_problems: int | None = None
    test_problems: int | None = None
    validation_problems: int | None = None
    train_duplicates: int | None = None
    other_gold: int | None = None
    test_duplicates: int | None = None
    overlap: int | None = None
    overlap_exact: dict[str, int] | None = None
    overlap_13gram: dict[str, int] | None = None
    test_variant: str | None = None
    shot_id: str | None = None


class PrecisionUsed(Recorded):
    """In which number format a run computed, and kept its weights.

    Attributes:
        compute: of products and activations: `bf16` or `fp32`.
        trainable: of the weights that are trained, "none" if none are.
        frozen: of the weights that are not, "none" if all are trained.
    """

    compute: str | None = None
    trainable: str | None = None
    frozen: str | None = None


class Fork(Recorded):
    """The checkpoint of another run from which a run continued.

    Attributes:
        fingerprint: of the other run.
        step: how many steps it had done.
        differences: settings in which the two runs differ, one line each.
        before: where that other run itself came from, if it was a fork.
    """

    fingerprint: str | None = None
    step: int
    differences: list[str]
    before: "Fork | None" = None


class FurtherTest(Recorded):
    """One extended evaluation of a complete run.

    Attributes:
        fingerprint: of the run as it was before.
        differences: settings in which the tests differ, one line each.
        kept: protocol -> texts that were not generated again.
        costs: protocol -> what testing under it had taken before.
    """

    fingerprint: str | None = None
    differences: list[str]
    kept: dict[str, int] = {}
    costs: dict[str, EvaluationCost] = {}


class TaskResult(Recorded):
    """What testing on a further task took.

    Attributes:
        evaluation: of its protocol; with 0 problems where nothing is generated.
        heldout: likelihood of the gold solutions.
        data: counts of its problems; overlaps are with what the arm is trained on.
    """

    evaluation: EvaluationCost
    heldout: LikelihoodSummary | None = None
    data: DataCounts | None = None


class RunResult(Recorded):
    """What one complete run measured.

    Attributes:
        training: None for an untuned model.
        evaluation: of the main protocol; with 0 problems where nothing is generated.
        also: of each further protocol, by its full name.
        heldout: likelihood of the gold solutions.
        validated: what was measured while it trained, in the order of the steps.
        tested_step: the optimizer step whose weights were tested; None: the last.
        tasks: of each further task, by its name.
        data: counts of the problems.
        precision: number formats.
        predicted_peak_bytes: the peak of memory that was planned for; None if nothing was.
        context_bytes: what the GPU held for the process beside torch's memory; None on a CPU.
        forked_from: the other run's checkpoint that the run resumed from.
        weights_note: where the weights come from, if that needs saying; else "".
        environment: name of a package, or `python`, `device`, `machine`, `processor` -> its
            version or description.
        tested_further: every extended evaluation, oldest first.
        reused_from: complete runs that an untuned model's texts were copied from.
    """

    training: TrainingCost | None = None
    evaluation: EvaluationCost
    also: dict[str, EvaluationCost] | None = None
    heldout: LikelihoodSummary | None = None
    validated: list[Validated] = []
    tested_step: int | None = None
    tasks: dict[str, TaskResult] = {}
    data: DataCounts | None = None
    precision: PrecisionUsed | None = None
    predicted_peak_bytes: int | None = None
    context_bytes: int | None = None
    forked_from: Fork | None = None
    weights_note: str | None = None
    environment: dict[str, str] = {}
    tested_further: list[FurtherTest] = []
    reused_from: list[str] = []

    @property
    def protocols(self) -> dict[str, EvaluationCost]:
        """What testing under each protocol took, by its name, the main one first."""
        return {self.evaluation.protocol: self.evaluation, **(self.also or {})}

    @property
    def tests(self) -> list[tuple[str, dict[str, EvaluationCost], LikelihoodSummary | None]]:
        """Name of each task, "" of the arm's own, costs by protocol, and likelihoods."""
        return [
            ("", self.protocols, self.heldout),
            *(
                (name, {own.evaluation.protocol: own.evaluation}, own.heldout)
                for name, own in self.tasks.items()
            ),
        ]

    @property
    def readings(self) -> list[str]:
        """What the test splits were read for, as the ledger calls it."""
        return [
            reading_of(task, protocol)
            for task, costs, heldout in self.tests
            for protocol in (*(name for name, cost in costs.items() if cost.problems),
                             *([LIKELIHOOD] if heldout else []))
        ]  # fmt: skip

    @property
    def seconds(self) -> float:
        """Of training, of testing under the main protocol and of the likelihoods."""
        parts = (self.training, self.evaluation, self.heldout)
        return sum(part.seconds or 0.0 for part in parts if part)


def read_result(path: Path) -> RunResult:
    """Return the result in `path`.

    Raises DamagedError if it cannot be read; it names the first field that does not fit.
    """
    try:
        content = read_json(path)
        json.dumps(content, allow_nan=False)  # Python's reader takes NaN and infinity for numbers
        return RunResult.model_validate(content)
    except ValidationError as error:
        raise _damaged(path, first_fault(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _damaged(path, f"cannot be read: {reason}") from error


def write_result(path: Path, result: RunResult) -> None:
    """Write `result` to `path`, atomically. Raises OSError."""
    write_json(path, result.record())


def first_fault(error: ValidationError) -> str:
    """Return what is wrong with the first field that does not fit: "has no evaluation"."""
    fault = error.errors()[0]
    field = ".".join(map(str, fault["loc"])) or "the whole"
    if fault["type"] == "missing":
        return f"has no {field}"
    return f"has {field} = {str(fault['input'])[:60]!r}: {fault['msg']}"


def _damaged(path: Path, what: str) -> DamagedError:
    return DamagedError(f"{path} {what}", "restore the file, or delete the run's folder")
