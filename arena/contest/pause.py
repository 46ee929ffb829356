"""What stops a contest's queue for reasons that no entry has: a key, a cap, a provider that is silent.

Such a stop counts against nobody. The queue waits, says so on its page and to the host, and goes on by itself: when
study.toml changes (`metaloop contest caps`), when the host starts anew, and after a while in any case.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from arena.contest.contest import Contest
from arena.contest.settings import utc_now
from arena.settings import StudyConfig
from arena.study import Study
from inner_loop.models.contract import Message, NoReply
from inner_loop.run_context import RunContext

HOSTS = ("credential", "cap_reached")  # kinds of problems that are the host's whoever meets them
FIRST, MOST = 15.0, 600.0  # seconds until it is tried again
LOOK_SECONDS = 0.5
PATIENCE = 30.0  # for the plain question
WORD = 16  # tokens of its answer

Problem = Mapping[str, Any]


def is_the_hosts(study: Study, problem: Problem) -> bool:
    """Whether others would meet it too. A silent provider is asked a plain question; where it answers, the request
    was at fault, and with it the entry."""
    return problem.get("kind") in HOSTS or (problem.get("kind") == "environment" and not answers(study))


def answers(study: Study) -> bool:
    """Whether the models of the study answer a plain question, within its caps; True where it has none."""
    from inner_loop.models.client import ModelClient

    config = StudyConfig.read(study.folder / "study.toml").staff  # as it is now
    if not config.models or os.environ.get("METALOOP_REPLAY"):
        return True
    told = tuple(study.state.calls)
    number = 1 + max((event.number for event in told), default=-1)
    config = config.model_copy(update={"patience": min(PATIENCE, config.patience)})
    context = RunContext(config=config, study=study.folder, recorded=told,
                         emit=study.record, should_stop=(study.folder / "stop").exists)  # fmt: skip
    try:
        client = ModelClient(context, number, first=number)
        client.complete([Message("user", "Answer with one word: ready")], max_tokens=WORD, purpose="probe")
    except NoReply:
        return False
    return True


class Pause:
    """Whether, why and since when a contest's queue waits; told in the fact `pause`, empty while it goes on."""

    def __init__(self, contest: Contest, say: Callable[[str], None]) -> None:
        self.contest, self.say = contest, say
        self.seconds = FIRST
        self.problem: Problem | None = None

    def begin(self, problem: Problem) -> None:
        self.problem = problem
        before = self.contest.database.fact("pause")
        same = before.get("message") == problem["message"]
        told = {key: str(problem.get(key) or "") for key in ("kind", "message", "hint")}
        if problem["kind"] == "cap_reached":
            told["hint"] = "metaloop contest caps DIR raises it, and the queue goes on"
        since = before["since"] if same else utc_now().isoformat()
        self.contest.database.tell("pause", since=since, **told)
        if not same:
            self.say(f"paused, and nobody is blamed: {told['message']} ({told['hint']})")

    def wait(self, study: Study, meanwhile: Callable[[], None]) -> None:
        """Until study.toml has changed, a stop is asked for, or it is time to try again."""
        made, end = _changed(study), time.monotonic() + self.seconds
        self.seconds = min(2 * self.seconds, MOST)
        while time.monotonic() < end and not (study.folder / "stop").exists():
            meanwhile()
            if _changed(study) != made:
                self.seconds = FIRST
                break
            time.sleep(LOOK_SECONDS)
        self.problem = None

    def over(self) -> None:
        """Something was carried out again."""
        self.seconds = FIRST
        if self.contest.database.fact("pause"):
            self.contest.database.tell("pause")
            self.say("the queue goes on")


def unstop(study: Study) -> None:
    """Take back a request to stop that this process made itself, to end what was in flight."""
    path = study.folder / "stop"
    if path.exists() and path.read_text(encoding="utf-8").strip() == str(os.getpid()):
        path.unlink(missing_ok=True)


def _changed(study: Study) -> int:
    return (study.folder / "study.toml").stat().st_mtime_ns
