"""Directions, steps, re-runs, the share of noise, contradictions and categories."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from analysis.imports.judge import _misstated
from analysis.imports.noise import chance_gain, chance_keeps, explained, is_explained, spread
from analysis.imports.rows import ParsedRow
from analysis.imports.words import category, meaning
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import judged, read, rows, told
from tests.analysis.imports.samples import tsv
from trainer.values.metric_names import named_direction


@pytest.mark.parametrize(
    ("name", "way"),
    [("val_bpb", "lower"), ("val_loss", "lower"), ("val_rmse", "lower"), ("val_fid", "lower"), ("score", "higher"),
     ("sharpe", "higher"), ("tok_per_sec", "higher"), ("tg_tok_s", "higher"), ("ms_per_token", "lower"),
     ("avg_latency_ms", "lower"), ("error_rate", "lower"), ("win_rate", "higher"), ("neg_loss", "higher"),
     ("neg_log_likelihood", "lower"), ("best_r2_score", "higher"), ("performance", None),
     ("Val Accuracy (%)", "higher"), ("指标", None)],
)  # fmt: skip
def test_directions_by_name(name: str, way: str | None) -> None:
    assert named_direction(name)[0] == way


def test_directions_by_the_rows_kept() -> None:
    text = samples.DISCARDED_BEST.replace("fitness", "performance")
    up = tsv("id|performance|status|description", "1|1|keep|a", "2|2|keep|b", "3|1.5|discard|c", "4|3|keep|d")
    assert (read(up)[1][0].direction.way, read(up)[1][0].direction.why) == ("higher", "the rows kept")
    assert read(up.replace("keep", "accept"), direction="lower")[1][0].direction.why == "given"
    assert read(text)[1][0].direction.way == "lower"


def test_a_name_that_the_statuses_contradict_is_in_doubt() -> None:
    text = tsv("id|val_loss|status|description", *(f"{n}|{n}|keep|x" for n in range(1, 8)))
    direction = read(text)[1][0].direction
    assert direction.way is None and "the kept rows suggest higher" in direction.why
    weak = read(text.replace("val_loss", "score").replace("|keep", "|keep"))[1][0].direction
    assert weak.way == "higher"


def test_what_cannot_be_told_is_not_guessed() -> None:
    assert read(samples.UNSURE)[1][0].direction.way is None
    [run] = read(samples.SEVERAL)[1]
    assert run.doubt == ("alpha_x", "beta_y")
    assert read(samples.SEVERAL, "beta_y", "higher")[1][0].metric == "beta_y"


def test_steps_are_recomputed() -> None:
    assert rows(samples.CANONICAL, "step", "best")[1:] == [
        (pytest.approx(0.012), 1.108), (None, 1.108), (None, 1.108), (pytest.approx(0.007), 1.101),
    ]  # fmt: skip
    found = told(samples.CANONICAL)
    assert (found.tried, found.kept, found.discarded, found.failed) == (4, 2, 1, 1)
    assert (found.baseline, found.best_kept, found.claimed_gain) == (1.12, 1.101, pytest.approx(0.019))
    assert [part.tried for part in found.parts] == [1, 1, 1, 1] and [part.kept for part in found.parts] == [1, 0, 0, 1]


def test_without_statuses_each_new_best_is_a_step() -> None:
    text = tsv("commit|val_loss|description", "a|2.0|b", "b|2.1|c", "c|1.9|d", "d|1.95|e")
    found = told(text)
    assert (found.decided, found.kept, found.claimed_gain, found.undecided) == (False, 0, pytest.approx(0.1), 3)
    assert found.new_bests == 1


def test_without_a_word_for_keep_what_was_not_discarded_counts() -> None:
    text = tsv("id|tok_per_sec|correctness|notes", "1|10|PASS|baseline", "2|14|PASS|a", "3|20|REVERT|b", "4|0|FAIL|c",
               "5|15|PASS|d", "6|12|PASS|e")  # fmt: skip
    found = told(text)
    assert (found.decided, found.kept, found.discarded, found.failed, found.claimed_gain) == (False, 0, 1, 1, 5.0)
    assert found.new_bests == 2


def test_rows_before_the_baseline_count_below_zero() -> None:
    text = tsv("commit|val_bpb|status|description", "a|0.0|crash|typo", "b|1.1|keep|baseline", "c|1.0|keep|x")
    assert [n for (n,) in rows(text, "number")] == [-1, 0, 1]


def test_a_log_that_begins_with_a_discarded_row_has_no_baseline() -> None:
    text = tsv("commit|val_bpb|status|description", "a|1.2|discard|x", "b|1.1|keep|y", "c|1.0|keep|z")
    found = told(text)
    assert (found.baseline, found.claimed_gain, found.best_kept) == (None, None, 1.0)
    assert [n for (n,) in rows(text, "number")] == [1, 2, 3]


def test_nothing_but_crashes() -> None:
    found = told(samples.ONLY_CRASHES)
    assert (found.tried, found.failed, found.baseline, found.claimed_gain) == (2, 2, None, None)
    assert (found.best_measured, found.noise.sd, found.baseline_from) == (None, None, "nothing was measured")


@pytest.mark.parametrize(
    ("before", "after", "delta", "wrong"),
    [(100.0, 105.4, 5.0, False), (100.0, 105.8, 5.0, True), (1.0, 0.7, -5e-5, True), (1.0, 1.00005, 5e-5, False)],
)
def test_a_stated_change_may_be_rounded(before: float, after: float, delta: float, wrong: bool) -> None:
    row = ParsedRow(1, after, None, None, "", "", "", before=before, delta=delta)
    assert (_misstated(row) is not None) is wrong


def test_before_after_and_delta() -> None:
    found = told(samples.PAIRS)
    assert (found.baseline, found.claimed_gain) == (0.5, pytest.approx(0.1))
    assert found.contradictions == {"delta": 1}
    percent = samples.PAIRS.replace("0.500\n", "3.4\n").replace("|0.500|", "|3.4|")
    assert told(percent.replace("\t0.500\taccept", "\t+3.4%\taccept")).contradictions == {}


def test_a_status_against_its_metric() -> None:
    found = judged(samples.DISCARDED_BEST)
    assert [(i.row.line, i.contradiction) for i in found.rows if i.contradiction] == [
        (4, "discarded-better"),
        (5, "kept-worse"),
    ]
    text = tsv("commit|val_bpb|status|description", "a|1.2|keep|baseline", "b|1.1|crash|x", "c|-|keep|y")
    assert told(text).contradictions == {"failed-with-metric": 1, "kept-without-metric": 1}
    assert told(samples.DISCARDED_BEST).best_measured == 1.4


def test_a_best_that_was_measured_again_at_a_third() -> None:
    found = judged(samples.RERUN_LOWER)
    assert [item.again for item in found.rows] == [None, None, None, 4, 4, 4, None]
    assert [item.problem for item in found.rows if item.problem] == [
        "line 4: kept at 0.9, measured again at 0.31, 0.29, 0.3 (line 5, 6, 7)"
    ]
    figures = told(samples.RERUN_LOWER)
    assert (figures.claimed_gain, figures.rerun_gain) == (pytest.approx(0.8), pytest.approx(0.2))
    assert figures.noise.sd == pytest.approx(0.01)  # of the re-runs: the lucky one says nothing of the spread


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("c3|1.95|discard|baseline", 2),
        ("c3|1.95|baseline|start anew", 2),
        ("b2b2b22|1.95|discard|rerun", 3),
        ("b2b2b22|1.95|discard|wider net", 3),  # commit and description are the same
        ("c3|1.95|discard|replicate b2b2b22 with more care", 3),
        ("c3|1.95|discard|re-run of wider net, seed 4", 3),
        ("c3|1.95|discard|verification of the best", 3),
        ("c3|1.95|discard|sanity check of the baseline", 2),
        ("b2b2b22|1.95|discard|narrower net", None),  # a discarded row has the hash of what it started from
        ("c3|1.95|discard|a new seed corpus", None),
        ("c3|1.95|discard|retry with warmup", None),
        ("c3|-|crash|rerun of the best", None),
    ],
)
def test_what_counts_as_measured_again(line: str, again: int | None) -> None:
    text = tsv("commit|val_loss|status|description", "a1a1a11|2.0|keep|baseline", "b2b2b22|1.9|keep|wider net", line)
    assert rows(text, "again")[2] == (again,)


def test_copied_rows_tell_no_noise() -> None:
    text = tsv("commit|val_loss|status|description", "a|2.0|keep|baseline", "a|2.0|keep|baseline", "b|1.9|keep|x")
    noise = told(text).noise
    assert noise.sd is None and "last digit" in noise.source
    assert told(text, 0.05).noise.source == "stated"


def test_spread_is_pooled() -> None:
    noise = spread([[1.0, 1.2], [5.0], [3.0, 3.1, 3.2]])
    assert noise.df == 3
    assert noise.sd == pytest.approx(math.sqrt((0.02 + 0.02) / 3))


@pytest.mark.parametrize(("step", "tries"), [(0.5, 1), (2.0, 1), (2.0, 5), (3.0, 40), (4.0, 12)])
def test_the_chance_of_a_step_by_noise_alone(step: float, tries: int) -> None:
    rng = random.Random(5)
    hits = sum(max(rng.gauss(0, 1) for _ in range(tries)) - rng.gauss(0, 1) >= step for _ in range(20_000))
    assert explained(step, tries, 1.0) == pytest.approx(hits / 20_000, abs=0.012)
    assert is_explained(step, tries, 1.0) == (explained(step, tries, 1.0) > 0.05)


def test_what_a_loop_without_effect_keeps_and_gains() -> None:
    rng = random.Random(3)
    keeps, gains = [], []
    for _ in range(3000):
        best = first = rng.gauss(0, 1)
        kept = 0
        for _ in range(100):
            value = rng.gauss(0, 1)
            if value > best:
                best, kept = value, kept + 1
        keeps.append(kept)
        gains.append(best - first)
    assert chance_keeps(100) == pytest.approx(statistics.fmean(keeps), abs=0.15)
    assert chance_gain(100, 1.0) == pytest.approx(statistics.fmean(gains), abs=0.08)
    assert (chance_keeps(0), chance_gain(0, 1.0)) == (0.0, 0.0)


def test_noise_that_is_as_large_as_the_steps_explains_them() -> None:
    assert told(samples.CANONICAL, 0.02).noise_steps == 2
    assert told(samples.CANONICAL, 0.0001).noise_steps == 0
    assert told(samples.CANONICAL, 0.02).noise_share == 1.0
    assert told(samples.CANONICAL).noise_steps is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [("raise LR to 0.06 → better", "learning rate"), ("drop weight decay", "regularisation"), ("学习率加倍", "other"),
     ("swap in Muon for the matrices", "optimizer"), ("Remove the third thing", "removal and tidying"),
     ("normalise inputs", "data and features"),
     ("pre-norm blocks", "activation and norm"), ("calorie counting", "other"), ("", "other"),
     ("baseline", "measured again"), ("batch 2**19", "batch and steps")],
)  # fmt: skip
def test_categories(text: str, kind: str) -> None:
    assert category(text) == kind


def test_categories_add_up() -> None:
    found = told(samples.CANONICAL)
    assert sum(c.tried for c in found.categories) == found.tried
    assert sum(c.gain for c in found.categories) == pytest.approx(found.claimed_gain)


@pytest.mark.parametrize(
    ("word", "decision"),
    [("keep (no regression)", "keep"), ("keep, lower loss", "keep"), ("discard: no improvement", "discard"),
     ("reverted to the last kept", "discard"), ("KEEP - done", "keep"), ("keep?", "keep"),
     ("Kept (not reverted)", "keep"), ("keep (previous change was reverted)", "keep"),
     ("kept, never rolled back", "keep"), ("keep: dropped weight decay", "keep"), ("-inf", "discard")],
)  # fmt: skip
def test_the_first_words_of_a_status_count(word: str, decision: str) -> None:
    said = meaning(word)
    assert said is not None and said.decision == decision


@pytest.mark.parametrize(
    "word",
    ["not kept", "unkept", "noise", "x" * 100, "", "42", "didn't keep", "don’t keep", "wont keep", "cannot keep",
     "almost kept", "kept, then reverted", "keep (reverted)", "keep/discard", "kept but rolled back",
     "accept then undo", "keep, later dropped", "kept; backed out", "kept_then_rolled_back", "keep (removed)",
     "keep, not better, reverted"],
)  # fmt: skip
def test_words_that_are_no_status(word: str) -> None:
    assert meaning(word) is None


def test_partial_is_no_keep() -> None:
    found = told(tsv("commit|val_loss|status|description", "a|2.0|partial|start", "b|1.9|partial|x", "c|1.8|partial|y"))
    assert (found.kept, found.new_bests, found.claimed_gain) == (0, 2, pytest.approx(0.2))
