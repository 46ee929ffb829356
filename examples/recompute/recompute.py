"""Recompute figures of studies with scipy, from the tables that `metaloop sql` prints.

    python recompute.py verdict STUDY            an evolution: the planned test of the champion
    python recompute.py contrast STUDY EARLIER   `metaloop match A B --add EARLIER`: A minus B, over both studies
    python recompute.py ablation STUDY           `metaloop ablate PROGRAM`: the effect of each directive
    python recompute.py night STUDY              `improve` for a night: its one test, its turns, the gain of main
    python recompute.py import STUDY             an imported log with re-runs: its noise, and p of each kept step

It needs `metaloop` on the PATH, numpy and scipy, and imports nothing of Metaloop: every formula here is a sentence of
docs/. Each figure is printed beside what `metaloop` shows; the exit status is 1 where a digit differs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
from scipy import optimize, stats

DIGITS = ".6g"  # of figures in tables


def metaloop(*words: str) -> Any:
    """The data that a command prints."""
    ended = subprocess.run(["metaloop", *words, "--json"], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    return json.loads(ended.stdout)


def agree(name: str, recomputed: float, shown: float | str) -> bool:
    """Print a figure beside what Metaloop shows; whether they agree in the digits of a text, else in six."""
    if isinstance(shown, str):
        digits = len(shown.partition(".")[2])
        texts = f"{recomputed:.{digits}f}", f"{float(shown):.{digits}f}"
    else:
        texts = f"{recomputed:{DIGITS}}", f"{shown:{DIGITS}}"
    print(f"{name:40} {texts[0]:>14} {texts[1]:>14}{'' if texts[0] == texts[1] else '   DIFFERS'}")
    return texts[0] == texts[1]


def numbers(sentence: str) -> list[str]:
    """The numbers of a sentence, as written."""
    return re.findall(r"[-+]?\d+\.\d+", sentence.replace("\N{MINUS SIGN}", "-"))


def welch(first: np.ndarray, second: np.ndarray, shared: float = 0, shared_df: float = 1) -> tuple[float, float, float]:
    """First minus second, its standard error and degrees of freedom. ``shared``: variance of an error beside these."""
    parts = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in (first, second)] + [(shared, shared_df)]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    return float(first.mean() - second.mean()), variance**0.5, df


def untouched(study: str, trainings: list[dict[str, Any]]) -> np.ndarray:
    """The untouched script's metrics on the rows of these trainings of the confirmation: a mean for each seed."""
    splits = {training["split"] for training in trainings}
    baselines = metaloop("sql", study, "FROM baselines WHERE stream = 'confirmation' AND status = 'ok'")
    return np.array([
        np.mean([row["splits"][split] if split else row["metric"] for split in splits]) for row in baselines
    ])  # fmt: skip


# -- the verdict of an evolution -----------------------------------------------------------------------------------


def third_moment(gains: np.ndarray) -> float:
    """Of the error of the mean (docs/design.md, Attribution and selection)."""
    n = len(gains)
    return float(stats.kstat(gains, 3)) * (0.5 + 20 / max(n, 10)) / n**2 if n > 2 else 0.0


def skewed_interval(value: float, se: float, df: float, skewness: float) -> tuple[float, float]:
    """95%, corrected for the skewness of the error."""
    q = stats.t.ppf(0.975, df)
    correction = abs(skewness) * (1 / 6 + q**2 / 3)
    return value - (q + correction * (skewness < 0)) * se, value + (q + correction * (skewness > 0)) * se


def skewed_p(value: float, se: float, df: float, skewness: float) -> float:
    """One-sided, of "not above 0"."""
    t, s = value / se, max(0.0, -skewness)
    if s and t > 0:
        t = optimize.brentq(lambda u: u + s * (1 / 6 + u**2 / 3) - t, 0, t) if t > s / 6 else 0.0
    return float(stats.t.sf(t, df))


def verdict(study: str) -> bool:
    """The champion against stock, whose two arms are one sample; against the user's own program where that ran."""
    gains: dict[str, list[float]] = {}
    succeeded: dict[str, list[bool]] = {}
    runs = metaloop("sql", study, "FROM runs WHERE purpose = 'confirmation' AND verified_gain IS NOT NULL")
    role = {run["run_id"]: run["role"].replace("a/a", "control") for run in runs}
    for run in runs:
        gains.setdefault(role[run["run_id"]], []).append(run["verified_gain"])
    trainings = metaloop("sql", study, "FROM verifications WHERE stream = 'confirmation'")
    for training in trainings:
        succeeded.setdefault(role[training["run_id"]], []).append(training["status"] == "ok")
    baseline = untouched(study, trainings)
    reference = "own" if "own" in gains else "control"
    champion, other = np.array(gains["champion"]), np.array(gains[reference])
    share = np.mean(succeeded["champion"]) - np.mean(succeeded[reference])
    shared = share**2 * baseline.var(ddof=1) / len(baseline)
    lead, se, df = welch(champion, other, shared, len(baseline) - 1)
    skewness = (third_moment(champion) - third_moment(other)) / se**3

    [recorded] = metaloop("sql", study, "SELECT details->'decision' AS d FROM champions ORDER BY named_at DESC LIMIT 1")
    tested = recorded["d"]["tested"]["lead"]
    sentence = numbers(metaloop("standings", study)["found"][0])
    low, high = skewed_interval(lead, se, df, skewness)
    print(f"shares of trainings that succeeded: they differ by {share:.3f}")
    return all([
        agree("champion minus reference", lead, tested["value"]),
        agree("its standard error", se, tested["se"]),
        agree("its degrees of freedom", df, tested["df"]),
        agree("skewness of its error", skewness, tested["skewness"]),
        agree("champion minus reference, printed", lead, sentence[0]),
        agree("lower end of its 95% interval, printed", low, sentence[1]),
        agree("upper end, printed", high, sentence[2]),
        agree("one-sided p", skewed_p(lead, se, df, skewness), recorded["d"]["p"]),
    ])  # fmt: skip


# -- one program against another, with the runs of an earlier study ------------------------------------------------


def contrast(study: str, earlier: str) -> bool:
    """The difference of two programs, averaged over studies by their numbers of runs (docs/attribution.md)."""
    shown = metaloop("standings", study)["contrast"]
    weights, differences, errors, freedoms = [], [], [], []
    for name in (study, earlier):
        runs = metaloop("sql", name, "FROM runs WHERE state = 'finished' AND verified_gain IS NOT NULL")
        first, second = (
            np.array([run["verified_gain"] for run in runs if run["name"] == shown[side]])
            for side in ("first", "second")
        )
        difference, error, freedom = welch(first, second)
        differences.append(difference)
        errors.append(error**2)
        freedoms.append(freedom)
        weights.append(len(first) * len(second) / (len(first) + len(second)))
    weight = np.array(weights) / sum(weights)
    difference, variances = float(weight @ differences), weight**2 * errors
    se = variances.sum() ** 0.5
    df = variances.sum() ** 2 / (variances**2 / freedoms).sum()
    low, high = stats.t.interval(0.95, df, difference, se)
    return all([
        agree("first minus second", difference, shown["difference"]),
        agree("its standard error", se, shown["lead"]["se"]),
        agree("its degrees of freedom", df, shown["lead"]["df"]),
        agree("lower end of its 95% interval", low, shown["low"]),
        agree("upper end", high, shown["high"]),
        agree("two-sided p", 2 * stats.t.sf(abs(difference) / se, df), shown["p"]),
    ])  # fmt: skip


# -- a planned ablation --------------------------------------------------------------------------------------------


def ablation(study: str) -> bool:
    """The effects of directives, by least squares with an intercept per run seed (docs/attribution.md)."""
    [planned] = metaloop("sql", study, "FROM ablations WHERE method = 'factorial'")
    runs = metaloop("sql", study, "FROM runs WHERE purpose = 'ablation' AND verified_gain IS NOT NULL")
    held = {(row["program_id"], row["directive_id"]) for row in metaloop("sql", study, "FROM directives")}
    gains, seeds = np.array([run["verified_gain"] for run in runs]), sorted({run["run_seed"] for run in runs})
    x = np.array([
        [(run["program_id"], factor) in held for factor in planned["factors"]]
        + [run["run_seed"] == seed for seed in seeds]
        for run in runs
    ], dtype=float)  # fmt: skip
    weights = np.linalg.pinv(x)  # effects and intercepts: weights @ gains
    residuals = np.eye(len(runs)) - x @ weights  # residuals @ gains
    free = np.diag(residuals)
    scale = np.where(free > 1e-8, 1 / np.sqrt(np.maximum(free, 1e-8)), 0)  # HC2; 0 for a run alone with its seed
    effects, errors = weights @ gains, weights * (residuals @ gains * scale)
    rows = {row["directive_id"]: row for row in metaloop("credit", study, "--method", "factorial", "--all")["items"]}
    view = metaloop("sql", study, "SELECT directive_id, df, p FROM credit WHERE method = 'factorial'")
    more = {row["directive_id"]: row for row in view}
    found, ps = [], []
    for i, factor in enumerate(planned["factors"]):
        noise = residuals * (weights[i] * scale)  # (errors of an effect) as a function of the noise of all runs
        inner = noise.T @ noise
        df = np.trace(inner) ** 2 / np.sum(inner**2)  # Bell and McCaffrey
        se = np.sqrt(np.sum(errors[i] ** 2))
        low, high = stats.t.interval(0.95, df, effects[i], se)
        ps.append(2 * stats.t.sf(abs(effects[i]) / se, df))
        row, name = rows[factor], rows[factor]["label"][:24]
        found += [
            agree(f"{name}: effect", effects[i], row["estimate"]),
            agree(f"{name}: se", se, row["se"]),
            agree(f"{name}: df", df, more[factor]["df"]),
            agree(f"{name}: low", low, row["low"]),
            agree(f"{name}: high", high, row["high"]),
            agree(f"{name}: p", ps[-1], more[factor]["p"]),
        ]
    for factor, q in zip(planned["factors"], stats.false_discovery_control(ps), strict=True):
        found.append(agree(f"{rows[factor]['label'][:24]}: q", q, rows[factor]["q"]))
    return all(found)


# -- a night -------------------------------------------------------------------------------------------------------


def night(study: str) -> bool:
    """The second program's turns against the first's, both programs' gains an hour, the gain of `main`."""
    turns = metaloop("sql", study, "FROM night_turns ORDER BY number")
    [config] = metaloop("sql", study, "SELECT config->'plan' AS plan FROM studies")
    [decided] = metaloop("sql", study, "SELECT details->'decision' AS d FROM champions ORDER BY named_at DESC LIMIT 1")
    [repeats] = metaloop("sql", study, SD_BETWEEN_SEEDS)
    agreed = [
        agree("one-sided p of the turns", turns_p(turns, config["plan"]["turns"], repeats["sd"]), decided["d"]["p"])
    ]

    for shown in metaloop("sql", study, "FROM contributions"):
        mine = [turn for turn in turns if turn["program_id"] == shown["program_id"]]
        gains = np.array([turn["gain"] for turn in mine])
        per_hour = 3600 * len(mine) / sum(turn["device_seconds_charged"] for turn in mine)
        se = gains.std(ddof=1) / len(gains) ** 0.5
        factor = np.exp(stats.t.ppf(0.975, np.count_nonzero(gains)) * se / gains.mean())
        agreed += [
            agree(f"{shown['program_id']}: gain an hour", gains.mean() * per_hour, shown["gain_per_hour"]),
            agree(f"{shown['program_id']}: low", gains.mean() / factor * per_hour, shown["low"]),
            agree(f"{shown['program_id']}: high", gains.mean() * factor * per_hour, shown["high"]),
        ]

    trainings = metaloop("sql", study, "FROM verifications WHERE stream = 'confirmation'")
    gains, baseline = np.array([training["gain"] for training in trainings]), untouched(study, trainings)
    [shown] = metaloop("sql", study, "SELECT gain, se, low, high FROM harvest")
    _, se, df = welch(gains, baseline)
    low, high = stats.t.interval(0.95, df, gains.mean(), se)
    recomputed = {"gain": gains.mean(), "se": se, "low": low, "high": high}
    return all([*agreed, *(agree(f"main: {name}", recomputed[name], shown[name]) for name in recomputed)])


SD_BETWEEN_SEEDS = """
SELECT sqrt(sum(squares) / sum(n - 1)) AS sd
FROM (SELECT var_pop(metric) * count(*) AS squares, count(*) AS n FROM experiments
      WHERE status = 'ok' AND fraction = 1 GROUP BY source_id HAVING n > 1)
"""


def turns_p(turns: list[dict[str, Any]], programs: list[str], sd: float | None) -> float:
    """One-sided p of the second program's turns being better, by random orders within blocks (docs/night.md)."""
    blocks: dict[int, tuple[list[float], list[float]]] = {}
    for turn in turns:
        score = np.log1p(max(0.0, turn["gain"]) / sd) if sd else float(turn["kept"] is not None)
        for place, program in enumerate(programs[:2]):
            if turn["program_id"] == program:
                blocks.setdefault(turn["block"], ([], []))[place].append(score)
    found, drawn, rng = 0.0, np.zeros(9_999), np.random.default_rng(1)
    for first, second in blocks.values():
        if len(first) == len(second) and any(first + second):
            found += np.mean(second) - np.mean(first)
            orders = rng.permuted(np.tile(second + first, (9_999, 1)), axis=1)
            drawn += orders[:, : len(second)].mean(axis=1) - orders[:, len(second) :].mean(axis=1)
    return float((1 + np.sum(drawn >= found - 1e-12)) / 10_000)


# -- an imported log -----------------------------------------------------------------------------------------------


def import_noise(study: str) -> bool:
    """The noise of the first run of a log, what it alone would give, and p of each kept step (docs/import.md)."""
    shown = metaloop("sql", study, "FROM imports WHERE run_id IS NOT NULL")[0]
    query = "FROM import_rows JOIN experiments USING (run_id, experiment_id, number) WHERE metric IS NOT NULL"
    rows = [row for row in metaloop("sql", study, query) if row["run_id"] == shown["run_id"]]
    rows.sort(key=lambda row: row["number"])
    again = {row["line"]: [r["metric"] for r in rows if r["again"] == row["line"]] for row in rows}
    groups = []
    for row in (row for row in rows if again[row["line"]]):
        is_lucky = row["step_gain"] is not None and len(again[row["line"]]) > 1
        groups.append([] if is_lucky else [row["metric"]])
        groups[-1] += again[row["line"]]
    df = sum(len(group) - 1 for group in groups)
    sd = (sum(len(group) * np.var(group) for group in groups) / df) ** 0.5
    steps = [row for row in rows if row["step_gain"] is not None]
    shares = [row["metric"] for row in [*rows[:1], *steps]]
    rows_sd = max((p * (1 - p) / shown["n_rows"]) ** 0.5 for p in shares) if shown["n_rows"] else 0.0
    tries = sum(row["again"] is None and row["number"] != 0 for row in rows)
    chance = np.hypot(sd, rows_sd) * stats.norm.ppf((tries + 0.625) / (tries + 1.25))
    same = [agree("SD", sd, shown["noise_sd"]), agree("degrees of freedom", df, shown["noise_df"])]
    same += [agree("SD of the rows", rows_sd, shown["rows_sd"] or 0.0), agree("luck", chance, shown["chance_gain"])]
    measured_again = sum(bool(again[row["line"]]) for row in steps)
    best, sign = rows[0], 1 if shown["direction"] == "lower" else -1
    for row in steps:
        before, after = [best["metric"], *again[best["line"]]], again[row["line"]] or [row["metric"]]
        tests = (measured_again if again[row["line"]] else tries) * (2 if measured_again else 1)
        seeds, all_rows = sd**2 * (1 / len(before) + 1 / len(after)), 2 * rows_sd**2
        t = sign * (np.mean(before) - np.mean(after)) / (seeds + all_rows) ** 0.5
        steps_df = (seeds + all_rows) ** 2 / (seeds**2 / df)
        ratios = (stats.chi2.isf((np.arange(400) + 0.5) / 400, steps_df) / steps_df) ** 0.5
        p = np.minimum(1.0, tests * stats.norm.sf(t * ratios)).mean()
        same.append(agree(f"line {row['line']}: p of the step", p, row["step_p"]))
        best = row if row["step_gain"] > 0 else best
    return all(same)


PARTS = {"verdict": verdict, "contrast": contrast, "ablation": ablation, "night": night, "import": import_noise}


def main(part: str, *studies: str) -> int:
    return 0 if PARTS[part](*studies) else 1


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in PARTS:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
