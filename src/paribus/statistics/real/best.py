"""The best of so many trials, expected over which of those made would have been drawn.

    expected_best([1.2, 0.9, 1.1])      # [1.0667, 0.9667, 0.9]: of one, of two and of all three

A method that was tuned longer looks better. Drawn against the number of trials, the expected best
says what each budget would have found (J. Dodge, S. Gururangan, D. Card, R. Schwartz, N. A. Smith
2019, Show Your Work, EMNLP, arXiv:1909.03004). Theirs draws with replacement and is biased; drawn
without, as here, it is the mean over all subsets and unbiased for independent trials (R. Tang, J.
Lee, J. Xin, X. Liu, Y. Yu, J. Lin 2020, Showing Your Work Doesn't Always Work, ACL,
arXiv:2004.13705).
"""

from collections.abc import Sequence
from math import comb, inf


def expected_best(losses: Sequence[float | None]) -> list[float]:
    """Return the expected lowest loss of k trials, for k from 1 to all; less is better.

    A trial that failed, None, is the worst there is: where k of them may be drawn it is infinite.
    """
    ordered = sorted(inf if loss is None else loss for loss in losses)
    n = len(ordered)
    return [
        sum(
            # The lowest of k is number i, from 0: the others are drawn from those above it.
            comb(n - 1 - i, k - 1) / comb(n, k) * loss
            for i, loss in enumerate(ordered[: n - k + 1])
        )
        for k in range(1, n + 1)
    ]
