"""``python -m arena.home.work FOLDER [PARENT]``: the process that verifies a project's proposals and merges them."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from arena.contest.settings import utc_now
from arena.contest.work import in_words, say_to_log
from arena.drain import Drained
from arena.executors import executor_of
from arena.home.project import Project
from arena.home.verifying import Say, Verifier
from arena.study import Study
from programs.errors import Busy, MetaloopError

IDLE_SECONDS = 0.3
BUSY_SECONDS = 2.0
NICE = 5


def carry_on(project: Project, say: Say, until_idle: bool = False) -> None:
    """Verify until a stop is requested (file `stop`) or, with ``until_idle``, nothing may be verified."""
    study = Study.open(project.folder)
    study.agree()
    with study, executor_of(study, lambda _: None) as executor:
        verifier = Verifier(project, study, say)
        verifier.put_right()
        while not (study.folder / "stop").exists():
            project.database.set_fact("pulse", pid=os.getpid(), at=utc_now().isoformat())
            try:
                at_work = verifier.step(executor)
            except Drained:
                return
            if not at_work:
                if until_idle:
                    return
                time.sleep(IDLE_SECONDS)


def main() -> None:
    from trainer.inside.metering import die_with_parent

    if sys.argv[2:]:
        die_with_parent()
        if os.getppid() != int(sys.argv[2]):
            return
    os.nice(NICE)
    say = partial(say_to_log, Path(sys.argv[1]))
    try:
        project = Project.open(Path(sys.argv[1]))
        while True:
            try:
                carry_on(project, say)
                return
            except Busy:
                time.sleep(BUSY_SECONDS)
    except MetaloopError as error:  # process boundary: the host's log has the reason
        say(f"stopped: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        raise SystemExit(error.exit_code) from None
    except (OSError, SQLAlchemyError) as error:  # the disk is full, or the folder is gone
        say(f"stopped: {in_words(error)} (repair the folder or free the disk; no accepted proposal is lost)")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
