"""What `task init --from` finds out about repositories of other people by running their command.

python -m bench.repositories FOLDER      fixtures of repositories, *.toml; each command runs twice

A fixture gives the ``command``, the ``metric`` where several numbers are printed, and its ``metric_file``; ``[files]``;
and in ``[truth]`` what its owner means. A field that is asked for is answered with the truth, and the rest goes on.
Counted over metric, direction, editable files, seed and the settings that should be knobs: right, asked, and silently
wrong.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.common import figure
from programs.common.errors import MetaloopError
from trainer.commands.init import Drafting, write
from trainer.commands.questions import Unknown
from trainer.commands.task_toml import Wanted
from trainer.task import Task

FIELDS = ("metric", "direction", "editable", "seed", "knobs")
RIGHT, REQUESTED, WRONG = "right", "asked", "silently wrong"


def read(path: Path) -> dict[str, str]:
    """Field → how it was found out; ``refused`` → why there is no task."""
    fixture = tomllib.loads(path.read_text("utf-8"))
    truth, asked = fixture["truth"], list[str]()
    given: dict[str, Any] = {name: fixture.get(name) for name in ("command", "metric", "metric_file")}
    wanted = replace(Wanted(noise="unknown"), **given)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in fixture["files"].items():
            file = Path(folder, "repo", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        drafting = Drafting(Path(folder, "repo"))
        try:
            while True:
                try:
                    drafted = drafting.draft(wanted)
                    break
                except Unknown as unknown:
                    fields = [question.field for question in unknown.questions]
                    if set(fields) & set(asked):
                        raise
                    asked += fields
                    wanted = replace(wanted, **{field: truth[field] for field in fields})
        except MetaloopError as error:
            return {"refused": f"{error.message} ({error.hint})"}
        states = compared(Task.load(write(drafted, None)), truth)
        listed = {fact.value.lower() for fact in drafted.facts if fact.field == "left out"}
        if states["knobs"] == WRONG and any(name.lower() in listed for name in truth["has_knob"]):
            states["knobs"] = REQUESTED  # left out with the reason and the flag
    return {name: REQUESTED if name in asked else state for name, state in states.items()}


def compared(task: Task, truth: dict[str, Any]) -> dict[str, str]:
    assert task.run is not None
    seed = "--seed" if "--seed {seed}" in str(task.run.command) else task.run.seed_constant or "none"
    names = {(knob.group or knob.name).replace("-", "_") for knob in task.edits.knobs}
    found = {
        "metric": task.metric in (truth["metric"], truth["metric"].rpartition(".")[2]),
        "direction": task.direction == truth["direction"],
        "editable": set(task.editable) == set(truth["editable"]),
        "seed": seed == truth["seed"],
        "knobs": all(
            any(name.lower().endswith(want.lower().replace("-", "_")) for name in names) for want in truth["has_knob"]
        ),
    }
    return {name: RIGHT if right else WRONG for name, right in found.items()}


def main() -> None:
    paths = sorted(Path(sys.argv[1]).glob("*.toml"))
    seen = {path.stem: read(path) for path in paths}
    for name, states in seen.items():
        said = states.get("refused") or ", ".join(f"{field} {states[field]}" for field in FIELDS)
        print(f"{name}: {said}", flush=True)
    counts = Counter(state for states in seen.values() for field, state in states.items() if field in FIELDS)
    figure("repositories", len(seen))
    figure("fields right", f"{counts[RIGHT]} of {counts.total()}")
    figure("fields asked", f"{counts[REQUESTED]} of {counts.total()}")
    figure("fields silently wrong", f"{counts[WRONG]} of {counts.total()}", "0")
    figure("repositories refused", sum("refused" in states for states in seen.values()))


if __name__ == "__main__":
    main()
