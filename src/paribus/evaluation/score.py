"""Say what a stored generation is worth. Pure: rescoring costs nothing and needs no model."""

from collections.abc import Callable

from paribus.evaluation import answers
from paribus.records import Generation, Outcome, Stop

_Extract = Callable[[str], str | None]
_Equal = Callable[[str, str], bool]

_RULES: dict[str, tuple[_Extract, _Equal]] = {
    "canonical": (answers.canonical, answers.numbers_equal),
    "strict": (answers.strict, answers.harness_equal),
    "flexible": (answers.flexible, answers.harness_equal),
}

SCORERS = tuple(_RULES)
"""Names of the scorers; the first is the one conclusions are drawn from."""


def score(generation: Generation, scorer: str) -> Outcome:
    """Return the outcome of `generation` under `scorer`, one of `SCORERS`.

    | stop          | answer found | equal | outcome   |
    |---------------|--------------|-------|-----------|
    | failed        |              |       | failed    |
    | any other     | yes          | yes   | correct   |
    | any other     | yes          | no    | wrong     |
    | length        | no           |       | truncated |
    | any other     | no           |       | no answer |

    Under `flexible` a text cut by the token limit is judged by its last number, as the harness
    judges it.
    """
    if generation.stop is Stop.FAILED:
        return Outcome.FAILED
    extract, equal = _RULES[scorer]
    found = extract(generation.text)
    if found is None:
        return Outcome.TRUNCATED if generation.stop is Stop.LENGTH else Outcome.NO_ANSWER
    return Outcome.CORRECT if equal(found, generation.answer) else Outcome.WRONG
