"""How long an arm's texts are: counted from its inputs, or assumed where these are not here.

    assumed_lengths(config).mean_example               # 189.1 for GSM8K's main solutions

A laptop without a network has neither GSM8K nor Gemma's tokenizer, and a plan is wanted there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from paribus.config.schema import ArmConfig
from paribus.planning.inputs import Inputs
from paribus.prompts.encode import shared_length
from paribus.prompts.protocols import protocols


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Sizes in tokens, and how many texts there are.

    Attributes:
        examples: training examples; 0 for a baseline.
        longest_example: prompt, solution and stop token of the longest.
        mean_example: of all.
        mean_target: of the tokens with loss of one example.
        problems: tested problems, once for each protocol.
        longest_prompt: over all protocols.
        shared_prefix: what all prompts begin with under the protocol that has the longest.
        longest_gold: the longest main prompt with its gold solution.
        mean_gold: gold solution of a tested problem.
        assumed: whose lengths these are, if not the arm's own; "" if they were counted.
    """

    examples: int
    longest_example: int
    mean_example: float
    mean_target: float
    problems: int
    longest_prompt: int
    shared_prefix: int
    longest_gold: int
    mean_gold: float
    assumed: str


# GSM8K with Gemma 3's tokenizer, all of it (LOG.md): examples, longest, mean, mean target.
_TRAIN = {"main": (7_468, 544, 189.1, 124.3), "socratic": (7_468, 643, 234.7, 167.3)}
# By shots: the longest raw prompt, and what all of them begin with.
_PROMPTS = {"zero_shot": (195, 3), "one_shot": (377, 182), "few_shot": (1_242, 1_047)}
_TESTS, _LONGEST_SOLUTION, _MEAN_SOLUTION = 1_319, 420, 126.7


def count_lengths(inputs: Inputs) -> Lengths:
    """Return the lengths of what an arm reads."""
    asked = max(inputs.prompt_sets, key=lambda one: max(len(p.ids) for p in one.prompts))
    prompts = [prompt.ids for prompt in asked.prompts]
    return Lengths(
        examples=len(inputs.examples),
        longest_example=max((len(example.ids) for example in inputs.examples), default=0),
        mean_example=_mean([len(example.ids) for example in inputs.examples]),
        mean_target=_mean([example.target_length for example in inputs.examples]),
        problems=len(inputs.tested) * len(inputs.prompt_sets),
        longest_prompt=max(map(len, prompts)),
        shared_prefix=shared_length(prompts),
        longest_gold=max(len(example.ids) for example in inputs.gold),
        mean_gold=_mean([example.target_length for example in inputs.gold]),
        assumed="",
    )


def assumed_lengths(config: ArmConfig) -> Lengths:
    """Return GSM8K's lengths for an arm whose data or tokenizer are not here."""
    asked = protocols(config)
    longest, shared = max(_PROMPTS[protocol.shots] for protocol in asked)
    found, longest_example, mean_example, mean_target = _TRAIN[config.data.variant]
    size, tests = config.data.train_size, config.data.test_size
    lengths = Lengths(
        examples=found if size == "all" else size,
        longest_example=min(longest_example, config.prompt.max_tokens),
        mean_example=mean_example,
        mean_target=mean_target,
        problems=(_TESTS if tests == "all" else tests) * len(asked),
        longest_prompt=longest,
        shared_prefix=shared,
        longest_gold=_PROMPTS[asked[0].shots][0] + _LONGEST_SOLUTION,
        mean_gold=_MEAN_SOLUTION,
        assumed="GSM8K's, with Gemma 3's tokenizer",
    )
    return replace(lengths, examples=0) if config.method == "none" else lengths


def _mean(lengths: Sequence[int]) -> float:
    return mean(lengths) if lengths else 0.0
