"""Asks before the code of a task runs that only the study of another person names."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from arena.study.known_tasks import remember, unknown_tasks
from arena.study.settings import StudyConfig
from meta.cli.output import ask
from programs.common.errors import UsageError
from trainer.scoring import SCORED_WITHOUT_ITS_CODE


def consent(folder: Path, config: StudyConfig, yes: bool, *, sandboxed: bool, confined: bool = False) -> None:
    """``sandboxed``: whether commands run in a sandbox; ``confined``: whether data.py does. Without, it asks once.

    Raises UsageError without a terminal and --yes, or where a task's code takes part in the scoring, which no sandbox
    confines.
    """
    for task in unknown_tasks(config):
        code, command = task.folder / "data.py", task.run
        if not command and confined and task.scoring["kind"] not in SCORED_WITHOUT_ITS_CODE:
            again = f"metaloop verify {folder}/runs/RUN/train.py -t {shlex.quote(str(code.parent))}"
            raise UsageError(
                f"{code} takes part in scoring (kind = {task.scoring['kind']!r}), which runs outside the sandbox",
                hint=f"read it, then name the task yourself: {again}",
            )
        runs, seen = [str(code)], ["its folder"]
        if command:
            texts = (text for text in (command.command, command.score_command) if text)
            runs = [text if isinstance(text, str) else shlex.join(text) for text in texts]
            seen += [*command.readable, *filter(os.path.isabs, command.links.values())]
        access = f"in a sandbox without network, with access to {', '.join(dict.fromkeys(seen))} only"
        how = access if (sandboxed if command else confined) else "without a sandbox"
        question = f"{folder}/study.toml names its own task: this runs {'; '.join(runs)} {how}"
        if not yes:
            refused = f"{question}, and there is no terminal to confirm it"
            ask(f"{question}; continue?", refused, "read it, then run the same command with --yes")
    if not confined:
        remember(config)
