"""Pauses of the queue that no entry caused: a refused key, a reached cap, a provider that does not answer.

A pause does not count against any entry. The queue page and the host page show it. The queue resumes when study.toml
changes (`metaloop contest host DIR caps`), when `serve` restarts, and after at most 10 minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from arena.contest.contest import Contest
from arena.serving.clock import utc_now
from arena.study.settings import StudyConfig
from arena.study.study import Study
from arena.work.jobs import ErrorRecord
from inner_loop.bench import NoReply
from inner_loop.models.contract import Message
from inner_loop.run_context import RunContext, is_replayed

HOSTS = ("credential", "cap_reached")  # kinds of problems that are always the host's
FIRST, MOST = 15.0, 600.0  # seconds until the next attempt
LOOK_SECONDS = 0.5
PATIENCE = 30.0  # timeout of the probe request
WORD = 16  # tokens of its reply


def answers(study: Study) -> bool:
    """Whether the study's models answer a probe request within its caps; True if it has no models. If they do, a
    provider that failed was at fault for its request alone."""
    from inner_loop.models.client import ModelClient

    models = StudyConfig.read(study.folder / "study.toml").llm  # the current file
    if not models.models or is_replayed():
        return True
    calls = tuple(study.state.calls)
    number = 1 + max((event.number for event in calls), default=-1)
    config = models.model_copy(update={"patience": min(PATIENCE, models.patience)})
    stop = (study.folder / "stop").exists
    context = RunContext(config=config, study=study.folder, recorded=calls, emit=study.record, should_stop=stop)
    try:
        client = ModelClient(context, number, first=number)
        client.complete([Message("user", "Answer with one word: ready")], max_tokens=WORD, purpose="probe")
    except NoReply:
        return False
    return True


class Pause:
    """The pause of a contest's queue, stored in the fact `pause`, which is empty while the queue runs."""

    def __init__(self, contest: Contest, say: Callable[[str], None]) -> None:
        self.contest, self.say = contest, say
        self.seconds = FIRST
        self.problem: ErrorRecord | None = None

    def begin(self, problem: ErrorRecord) -> None:
        self.problem = problem
        before = self.contest.database.fact("pause")
        same = before.get("message") == problem["message"]
        details = {key: str(problem.get(key) or "") for key in ("kind", "message", "hint")}
        if problem["kind"] == "cap_reached":
            details["hint"] = "metaloop contest host DIR caps --max-usd USD raises the cap, and the queue resumes"
        since = before["since"] if same else utc_now().isoformat()
        self.contest.database.set_fact("pause", since=since, **details)
        if not same:
            self.say(f"queue paused: {details['message']} ({details['hint']})")

    def wait(self, study: Study, meanwhile: Callable[[], None]) -> None:
        """Wait until study.toml has changed, a stop is requested, or it is time to try again."""
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
        """End the pause: a run has succeeded."""
        self.seconds = FIRST
        if self.contest.database.fact("pause"):
            self.contest.database.set_fact("pause")
            self.say("the queue has resumed")


def _changed(study: Study) -> int:
    return (study.folder / "study.toml").stat().st_mtime_ns
