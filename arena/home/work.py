"""``python -m arena.home.work FOLDER [PARENT]``: the process that verifies a project's proposals and merges them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import JsonValue

from arena.home.project import Project
from arena.home.verifying import Say, Verifier
from arena.serving.process import as_process
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work.executors import executor_of

IDLE_SECONDS = 0.3


def carry_on(project: Project, say: Say, until_idle: bool = False) -> None:
    """Verify until a stop is requested (file `stop`) or, with ``until_idle``, nothing may be verified."""

    def note(event: Mapping[str, JsonValue]) -> None:
        if event["kind"] == "note":  # such as a node that is not used
            say(str(event["text"]))

    study = Study.open(project.folder)
    study.agree()
    with study, executor_of(study, note) as executor:
        verifier = Verifier(project, study, say)
        verifier.put_right()
        while not (study.folder / "stop").exists():
            project.database.heartbeat()
            try:
                at_work = verifier.step(executor)
            except Drained:
                return
            if not at_work:
                if until_idle:
                    return
                time.sleep(IDLE_SECONDS)


if __name__ == "__main__":
    as_process(Project.open, carry_on, "verifies this project's proposals", "proposal")
