"""What a reader has to know of a diff before its gain: it changes a seed, or the lines that print or compute the
metric, or it reads files beside the script that the untouched one does not read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.verdict.decision import SEED_ALONE
from trainer.task import Task

SEED, METRIC, READS = "seed", "metric line", "reads"
SHOWN = 60  # characters of a line
_SEED = re.compile(r"\b((?=\w*?(?:seed|random_?state|default_rng|prngkey))\w++)\W{1,3}\d++", re.IGNORECASE)


def script_remarks(task: Task, files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(code, detail) of each remark on a script with these (name, text) ``files`` against the untouched one."""
    before, after = dict(task.baseline().files), dict(files)
    old, new = ("\n".join(texts[name] for name in sorted(texts)) for texts in (before, after))
    if seeds := _changed_seeds(old, new):
        yield SEED if _SEED.sub(r"\1", old) != _SEED.sub(r"\1", new) else SEED_ALONE, "; ".join(seeds)
    if task.run and task.scoring["kind"] == "printed" and not task.run.score_command:
        lines = [Counter(_metric_lines(text, task)) for text in (old, new)]
        if changed := [*(lines[1] - lines[0]), *(lines[0] - lines[1])]:
            yield METRIC, changed[0][:SHOWN]
    reads = [name for name in task.read_only if (file := name.rpartition("/")[2]) in new and file not in old]
    if reads:
        yield READS, ", ".join(reads)


def _changed_seeds(old: str, new: str) -> list[str]:
    """Each value of a seed that is another one in the new text, under the same name."""
    before, after = (Counter(match[0] for match in _SEED.finditer(text)) for text in (old, new))
    removed, come = before - after, {_SEED.sub(r"\1", seed): seed for seed in after - before}
    return [f"{seed} → {come[name]}" for seed in removed if (name := _SEED.sub(r"\1", seed)) in come]


def _metric_lines(text: str, task: Task) -> Iterator[str]:
    """The lines that name the metric, and those that give a value to a variable in them which is no knob."""
    lines = [line.strip() for line in text.splitlines()]
    name = re.escape(task.scoring["key"].rpartition(".")[2] or task.metric)
    printing = [line for line in lines if re.search(rf"(?<!\w){name}(?!\w)", line)]
    words = {word for line in printing for word in re.findall(r"[A-Za-z_]\w*", line)}
    variables = "|".join(words - {knob.name for knob in task.edits.knobs})
    assigns = re.compile(rf"(?:{variables})\b[^=(<>!]*=(?!=)")
    return (line for line in lines if line in printing or (variables and assigns.match(line)))
