"""What a margin adds: whether two arms are as good as each other by it, or one is no worse.

of_margin(contrast, Caveats()).claim         # "lora and full are equivalent within 2 points"
"""

from paribus.analysis import wording
from paribus.analysis.caveats import Caveats
from paribus.analysis.contrasts import Contrast
from paribus.analysis.finding import Finding, ends
from paribus.statistics.verdicts import Verdict


def of_margin(contrast: Contrast, beside: Caveats) -> Finding:
    """Whether two arms are as good as each other by the margin; if not, whether one is no worse."""
    within = wording.points(contrast.margin).lstrip("+")
    claim = wording.alike(contrast)
    verdict = Verdict.SUPPORTED if claim else Verdict.NOT_SHOWN
    if contrast.worse:
        verdict = Verdict.REFUTED
    return Finding(
        kind="equivalence",
        claim=claim or f"{contrast.a} and {contrast.b} are equivalent within {within}",
        verdict=verdict,
        scope=contrast.scope,
        sentence=f"{wording.equivalence_sentence(contrast, beside.explains).strip()} "
        f"The difference may be {wording.points_range(contrast.interval)} points.",
        evidence={
            "a": contrast.a,
            "b": contrast.b,
            "margin": contrast.margin,
            "difference": contrast.difference,
            "interval": ends(contrast.interval),
            "p_not_worse": list(contrast.p_not_worse),
            "p_worse": list(contrast.p_worse),
        },
        caveats=beside.all,
    )
