"""The speed benchmark compares like with like: the same losses and texts from every peer.

In fp32 on the tiny model, where rounding cannot hide a difference. Timings are never tested.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paribus.evaluation.scoring import own_text
from paribus.models.shapes import shape_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def work(tiny: Path) -> Any:
    from speed_work import Asked, make_work

    return make_work(
        Asked(
            model=str(tiny),
            steps=3,
            batch=4,
            problems=5,
            eval_batch=3,
            new_tokens=24,
            precision="fp32",
        )
    )


@pytest.fixture(scope="module")
def ours(work: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    import peer_paribus

    folder = tmp_path_factory.mktemp("paribus")
    return {m: peer_paribus.train_work(work, m, folder)["losses"] for m in work.training}


def test_the_file_holds_the_work(work, tmp_path):
    work.write(tmp_path / "work.json")
    assert type(work).read(tmp_path / "work.json") == work


def test_every_example_of_the_steps_is_exported_in_order(work):
    assert [len(batch) for batch in work.batches] == [4, 4, 4]
    assert sorted(i for batch in work.batches for i in batch) == list(range(12))
    assert work.ordered[5] == work.examples[work.batches[1][1]]


def test_the_step_that_warms_up_has_the_shortest_examples(work):
    first, *others = ([len(ids) for ids, _ in work.step(number)] for number in range(3))
    assert max(first) <= min(min(lengths) for lengths in others)


def test_the_first_steps_are_the_same_work(work):
    assert work.first(2).ordered == work.ordered[:8]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_plain_trainer_has_the_same_losses(work, ours, method, tmp_path):
    import peer_trainer

    theirs = peer_trainer.train_work(work, method, tmp_path)["losses"]
    assert theirs == pytest.approx(ours[method], rel=1e-5)
    assert len({round(loss, 5) for loss in theirs}) == 3, "steps that change nothing prove nothing"


@pytest.mark.parametrize("setting", ["defaults", "kept", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_trl_has_the_same_losses(work, ours, method, setting, tmp_path):
    pytest.importorskip("trl")
    import peer_trl

    theirs = peer_trl.train_work(work, method, tmp_path, setting=setting)["losses"]
    assert theirs == pytest.approx(ours[method], rel=1e-5)


def test_lm_eval_writes_the_same_texts(work):
    pytest.importorskip("lm_eval")
    import peer_lmeval
    import peer_paribus

    texts = [own_text(text) for text in peer_paribus.evaluate_work(work)["texts"]]
    assert peer_lmeval.evaluate_work(work)["texts"] == texts


@pytest.mark.parametrize("method", ["full", "lora"])
def test_lm_eval_tests_the_weights_that_trl_has_saved(work, method, tmp_path):
    pytest.importorskip("trl")
    pytest.importorskip("lm_eval")
    import peer_lmeval
    import peer_trl

    fast = {method: replace(work.training[method], learning_rate=0.03)}
    fast_work = replace(work, training=fast)
    peer_trl.train_work(fast_work, method, tmp_path, setting="kept", save=True)
    tuned = peer_lmeval.evaluate_work(work, tmp_path)["texts"]
    assert len(tuned) == 5
    assert tuned != peer_lmeval.evaluate_work(work)["texts"]


def test_lm_eval_with_other_tokens_is_refused(work):
    pytest.importorskip("lm_eval")
    import peer_lmeval

    first = {**work.prompts[0], "ids": [2, *work.prompts[0]["ids"]]}
    with pytest.raises(RuntimeError, match="tokens differ"):
        peer_lmeval.evaluate_work(replace(work, prompts=[first]))


# The tiny model: 2 layers of 64·64 + 2·64·32 + 64·64 + 3·64·128 = 36,864 weights, 262 tokens, 64
# wide, 2 heads of 32, one layer with a window of 48. One example of 3 tokens, 1 of them a target:
# 6 pairs of tokens in each layer. LoRA of rank 2 has 2·(128+96+96+128+3·192)·2 = 4,096 weights.
PARAMETERS, HEAD, ATTENTION = 2 * 36_864, 262 * 64, 12 * 2 * 32 * (6 + 6)


@pytest.mark.parametrize(
    ("method", "flops"),
    [
        ("full", 6 * PARAMETERS * 3 + 6 * HEAD + ATTENTION),
        ("lora", (4 * PARAMETERS + 6 * 4096) * 3 + 4 * HEAD + ATTENTION),
    ],
)
def test_useful_flops_by_hand(tiny, method, flops):
    from speed_machine import useful_flops

    shape = shape_of(str(tiny), None)
    assert useful_flops(shape, [([1, 2, 3], 2)], method=method, rank=2) == flops


def test_a_window_hides_pairs_of_tokens(tiny):
    from speed_machine import useful_flops

    shape = shape_of(str(tiny), None)
    narrow = useful_flops(shape, [(range(50), 50)], method="full")
    wide = useful_flops(replace(shape, sliding_window=64), [(range(50), 50)], method="full")
    # Tokens 49 and 50 of the layer with the window of 48 do not see the first, and the first two.
    assert wide - narrow == 12 * 2 * 32 * 3


@pytest.mark.parametrize(
    ("asked", "held", "found"),
    [("auto", "AVX2", "fp32"), ("auto", "AVX512_CORE", "fp32"), ("bf16", "AVX2", "bf16")],
)
def test_without_bf16_of_its_own_a_processor_compares_in_fp32(monkeypatch, asked, held, found):
    from speed_machine import settled

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", held)
    assert settled(asked, "cpu") == found


def test_results_of_another_precision_or_of_fewer_instructions_are_another_file(monkeypatch):
    from speed_machine import slug

    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    whole = slug("cpu", "bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert slug("cpu", "fp32") == f"{whole}-avx2-fp32"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp32_gets_less_work_and_what_is_asked_for_stands(precision):
    from speed import SIZES, _asked, _parser

    asked = _asked(_parser().parse_args(["--batch", "3", "--steps", "1"]), precision)
    assert (asked.batch, asked.steps, asked.trl_steps, asked.precision) == (3, 1, 1, precision)
    assert asked.problems == SIZES[precision]["problems"]
    assert all(SIZES["fp32"][size] < SIZES["bf16"][size] for size in SIZES["fp32"])


@pytest.mark.parametrize(
    ("ends", "rounds"),  # minutes after the start at which each round ends; 30 are allowed
    [([9, 18, 27], [1, 2, 3]), ([11, 20, 29], [1, 2, 3]), ([16, 30], [1]), ([45], [1])],
)
def test_no_round_begins_that_would_end_too_late(ends, rounds):
    from speed import rounds_of

    times = iter([0, 0, *(60 * minute for minute in ends)])
    assert list(rounds_of(3, 30, lambda: next(times))) == rounds


def figures(losses: list[float], seconds: float) -> dict[str, Any]:
    return {"losses": losses, "seconds": [9.0, seconds, seconds], "peak_memory_bytes": 1}


def summary(work: Any, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    from speed_summary import summarise

    limits = [{"matrix_flops": 100.0, "copy_bytes": 1.0}]
    found: dict[str, Any] = summarise(rounds, work, {"full": [60.0, 60.0]}, limits)
    return found


def test_the_fastest_setting_of_trl_may_be_another_in_each_round(work):
    rounds = [
        {"full/paribus": figures([2.0], 1.0), "full/trl-kept": figures([2.0], 4.0),
         "full/trl-bf16": figures([2.0], 3.0)},
        {"full/paribus": figures([2.0], 1.0), "full/trl-kept": figures([2.0], 2.0),
         "full/trl-bf16": figures([2.0], 5.0)},
    ]  # fmt: skip
    assert summary(work, rounds)["fastest_trl"] == {"full": [2.5, 2.0, 3.0]}


def test_ratios_are_paired_and_the_first_step_is_left_out(work):
    rounds = [
        {"full/paribus": figures([2.0], 1.0), "full/trainer": figures([2.0], 4.0)},
        {"full/paribus": figures([2.0], 2.0), "full/trainer": figures([2.0], 6.0)},
    ]
    found = summary(work, rounds)
    assert found["ratios"] == {"full/trainer": [3.5, 3.0, 4.0]}
    assert found["table"]["full/paribus"]["per_second"] == [3.0, 2.0, 4.0]  # 4 examples a step
    # 120 operations in 2 s and in 4 s: 60 and 30 a second of the 100 that the machine can do
    assert found["table"]["full/paribus"]["share_of_ceiling"] == 0.45


def test_ratios_are_of_the_steps_that_both_did(work):
    ours = {"losses": [2.0, 2.0, 2.0], "seconds": [9.0, 2.0, 100.0], "peak_memory_bytes": 1}
    theirs = {"losses": [2.0, 2.0], "seconds": [9.0, 8.0], "peak_memory_bytes": 1}
    found = summary(work, [{"full/paribus": ours, "full/trl-kept": theirs}])
    assert found["ratios"] == {"full/trl-kept": [4.0, 4.0, 4.0]}
    # 60 operations in 8 s of the 100 that the machine can do in each
    assert found["table"]["full/trl-kept"]["share_of_ceiling"] == 0.075
    assert found["checks"][0]["ok"]


def test_later_rounds_have_the_defaults_of_trl_and_its_fastest_setting():
    from speed_summary import worth_repeating

    first = {
        "full/paribus": figures([2.0], 1.0), "full/trl-defaults": figures([2.0], 9.0),
        "full/trl-kept": figures([2.0], 5.0), "full/trl-bf16": figures([2.0], 6.0),
        "lora/trl-kept": {"error": "exit -9: killed"}, "lora/trl-bf16": figures([2.0], 8.0),
        "evaluation/lm-eval": {"texts": [], "seconds": 1.0, "peak_memory_bytes": 1},
    }  # fmt: skip
    kept = [name for name in first if name != "full/trl-bf16"]
    assert worth_repeating(list(first), first) == kept


@pytest.mark.parametrize(
    ("peer", "theirs", "ok"),
    [
        ("trl-kept", [2.0, 2.0001], True),
        ("trl-kept", [2.0, 2.001], False),
        ("trl-kept", [2.0001, 2.0], False),
        # The plain Trainer's loss over whole rows of logits is itself 2.4e-5 nats too low.
        ("trl-kept", [1.99996, 2.0], False),
        ("trainer", [1.99996, 2.0], True),
        ("trainer", [1.9999, 2.0], False),
        ("trainer", [2.0, 2.001], False),
    ],
)
def test_another_loss_fails_the_check(work, peer, theirs, ok):
    rounds = [{"full/paribus": figures([2.0, 2.0], 1.0), f"full/{peer}": figures(theirs, 1.0)}]
    (check,) = summary(work, rounds)["checks"]
    assert check["ok"] is ok


@pytest.mark.parametrize(
    ("name", "precision", "theirs", "ok"),
    [
        ("full/trainer", "bf16", [2.0, 2.3], True),
        ("full/trainer", "bf16", [2.1, 2.1], False),
        ("full/trainer", "fp32", [2.0, 2.3], False),
        ("full/trl-kept", "bf16", [2.0, 2.3], False),
        ("lora/trainer", "bf16", [2.0, 2.3], False),
    ],
)
def test_weights_that_lose_their_updates_are_held_to_the_first_loss(
    work, name, precision, theirs, ok
):
    work = replace(work, asked=replace(work.asked, precision=precision))
    ours = f"{name.partition('/')[0]}/paribus"
    (check,) = summary(work, [{ours: figures([2.0, 2.0], 1.0), name: figures(theirs, 1.0)}])[
        "checks"
    ]
    assert check["ok"] is ok
    assert ("lose small updates" in check["said"]) is (ok and theirs[1] > 2.2)


@pytest.mark.parametrize(("precision", "ok"), [("fp32", False), ("bf16", True)])
def test_another_text_fails_the_check_in_fp32(work, precision, ok):
    work = replace(work, asked=replace(work.asked, precision=precision))
    texts = [["a", "b", "c", "d", "e\n\nQuestion: f"], ["a", "b", "c", "x", "e\n\n"]]
    names = ("evaluation/paribus", "evaluation/lm-eval")
    found = {
        n: {"texts": t, "seconds": 1.0, "peak_memory_bytes": 1}
        for n, t in zip(names, texts, strict=True)
    }
    (check,) = summary(work, [found])["checks"]
    assert (check["ok"], check["identical"]) == (ok, 4)


def test_a_part_that_failed_is_told_and_has_no_figures(work):
    rounds = [{"full/paribus": figures([2.0], 1.0), "full/trainer": {"error": "exit -9: killed"}}]
    found = summary(work, rounds)
    assert found["failures"] == [{"round": 1, "name": "full/trainer", "error": "exit -9: killed"}]
    assert "full/trainer" not in found["table"]
    assert found["ratios"] == {}
