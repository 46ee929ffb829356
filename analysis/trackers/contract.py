"""What a tracker is given: the runs of a study with their experiments, as steps of a curve, and their figures."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from types import ModuleType
from typing import Protocol
from urllib.error import HTTPError
from urllib.request import urlopen

from programs.errors import CredentialMissing, EnvironmentProblem, UsageError
from trainer.edits import Value

Files = Mapping[str, str]  # name → text
Verdict = Mapping[str, str | float]
SECONDS = 5.0
CLIENTS = ("mlflow", "wandb", "trackio", "requests", "urllib3", "httpx", "sqlalchemy", "pydantic_core")


@dataclass(frozen=True)
class Step:
    """An experiment of a run. ``at``: when it ended, in seconds since 1970, if that is known. ``values``: `metric`,
    `gain` (`metric_screening`, `gain_screening` of a shorter training), `best_metric` and `best_gain` of the baseline
    and the kept scripts so far, `device_seconds` of the run so far, `kept` (0 or 1); what an experiment does not have,
    a failed one its metric, is left out."""

    experiment_id: str
    number: int
    status: str
    decision: str
    description: str
    at: float | None
    config: Mapping[str, Value]
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A run. ``settings``: what it was given; ``facts``: how it ended, in words (state, reason, trust, ...);
    ``figures``: what came of it, finite numbers only. Times are in seconds since 1970, None where they are not known;
    ``measured``: of its end or its last verification."""

    run_id: str
    name: str
    state: str
    settings: Mapping[str, str | int | float]
    facts: Mapping[str, str]
    figures: Mapping[str, float]
    steps: Sequence[Step]
    started: float | None
    ended: float | None
    measured: float | None
    files: Callable[[], Files]  # read when they are sent

    @property
    def path(self) -> str:
        """Purpose, program and run, for tools that show one path for each run."""
        parts = (str(self.settings.get("purpose") or "run"), self.name.rpartition(" ")[0], self.run_id)
        return "/".join(re.sub(r"[^\w+-]+", "-", part) for part in parts)

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "interrupted")

    @property
    def succeeded(self) -> bool:
        return self.state in ("finished", "imported")

    @property
    def decided(self) -> Sequence[Step]:
        """The steps that no later record changes."""
        return self.steps if self.is_over else [step for step in self.steps if step.decision]


@dataclass(frozen=True)
class TrackedStudy:
    """A study: its name, the hash of its first record (empty before there is one), its runs in the order of their
    starts, what to read above them, in Markdown, and the verdict's fields (none without one)."""

    name: str
    study_id: str
    runs: Sequence[TrackedRun]
    note: str
    verdict: Verdict


class Tracker(Protocol):
    """Writes one study into a new project of a tool. It is made before the study is read, and raises then what is
    wrong with the client, its server or its credentials."""

    where: str  # how to look at what was written, in one line
    left_out: str = ""  # what was not sent, and why

    def has(self, project: str) -> bool:
        """Whether there is a project of this name with runs already."""
        ...

    def begin(self, project: str, study: TrackedStudy) -> None: ...
    def send(self, run: TrackedRun) -> None: ...
    def conclude(self, verdict: Verdict) -> None:
        """Show the verdict as a summary."""


def send(tracker: Tracker, study: TrackedStudy, project: str, progress: Callable[[int], None]) -> None:
    """Send a study once; ``progress`` gets the number of runs so far. UsageError for a project that has runs."""
    if tracker.has(project):
        raise UsageError(f"the project {project} already has runs", hint="name another: --project NAME, or delete it")
    tracker.begin(project, study)
    for count, run in enumerate(study.runs, 1):
        tracker.send(run)
        progress(count)
    if study.verdict:
        tracker.conclude(study.verdict)


def markdown(verdict: Verdict) -> str:
    """The verdict above the runs, with every caveat and note."""
    if not verdict:
        return "No verdict yet."
    points = "".join(f"\n- {text}" for key in ("caveat", "notes") for text in str(verdict.get(key, "")).splitlines())
    return f"**{verdict['headline']}.** {verdict['verdict']}\n{points}"


def needed(module: str, extra: str) -> ModuleType:
    """The client's module. Raises UsageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--to {extra} needs the package {module.partition('.')[0]} ({error})",
            hint=f"in your clone of Metaloop: pip install -c constraints.txt '.[{extra}]'",
        ) from None


def bare(address: str) -> str:
    """The address without a user's name and password."""
    head, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else address


def one_line(error: Exception) -> str:
    """Its first line, without the page that a web server answered."""
    return str(error).strip().partition("\n")[0].partition(" Response body:")[0].rstrip(" .,:")


def require_answer(address: str, variable: str) -> None:
    """Raises EnvironmentProblem where no server answers at an http address that ``variable`` names, within seconds: the
    clients try for minutes."""
    what = f"{variable}={bare(address)}"
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", address):
        raise UsageError(f"{what} is not an address: http:// is missing", hint=f"{variable}=http://{address}")
    if not address.startswith(("http://", "https://")):
        return
    try:
        urlopen(bare(address), timeout=SECONDS).close()
    except HTTPError:
        return  # a server answers, and the client has the credentials
    except (ValueError, InvalidURL) as error:
        raise UsageError(f"{what} is not an address: {error}", hint=f"correct {variable}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        hint = f"start the server, or correct {variable}"
        raise EnvironmentProblem(f"no server answers at {what}: {reason}", hint=hint) from None


@contextmanager
def client_errors(what: str) -> Iterator[None]:
    """Reports an error of a tool's client in one line; ``what``: the tool, with its address."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        line, status = one_line(error), getattr(error, "get_http_status_code", lambda: None)()
        if "credential configuration failed" in line:  # MLflow's, of Databricks
            cure = "set DATABRICKS_HOST and DATABRICKS_TOKEN, or log in with databricks auth login"
            raise CredentialMissing(f"{what}: there are no credentials", hint=cure) from error
        if status in (401, 403) or type(error).__name__ == "AuthenticationError":
            raise CredentialMissing(f"{what} refuses the credentials: {line}", hint="docs/trackers.md") from error
        if status == 404:
            raise UsageError(f"{what} answers, but not as this tool's server: {line}", hint="correct it") from error
        if "Max retries exceeded" in line or isinstance(error, OSError):
            raise EnvironmentProblem(f"{what}: the server no longer answers", hint="start it, then export") from error
        raise EnvironmentProblem(f"{what}: {line or type(error).__name__}", hint="correct it and try again") from error
