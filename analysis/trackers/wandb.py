"""Weights & Biases: one run for each run, grouped by the purpose of its match. Offline unless WANDB_MODE=online."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import KILLED, InFolder, Step, TrackedRun, Verdict, needed
from analysis.trackers.service import bare, client_errors, require_address, require_answer
from programs.errors import CredentialMissing, EnvironmentProblem, UsageError


class Wandb(InFolder):
    def __init__(self, folder: Path) -> None:
        self._wandb: Any = needed("wandb", "wandb")
        self.project, self.study_id, self.folder = "", "", folder
        self.mode = os.environ.get("WANDB_MODE", "offline")
        if self.mode not in ("offline", "online"):
            raise UsageError(f"WANDB_MODE={self.mode} is neither offline nor online", hint="unset WANDB_MODE")
        if server := os.environ.get("WANDB_BASE_URL"):
            require_address(server, "WANDB_BASE_URL", ("http", "https"))
        self.updates = self.mode == "online"
        if self.updates:
            self._sign_in()
        self._open: dict[str, Any] = {}

    def _sign_in(self) -> None:
        """Raises what is wrong with the server or the credentials."""
        address = str(self._wandb.setup().settings.base_url)
        variable = "WANDB_BASE_URL" if "WANDB_BASE_URL" in os.environ else ""
        self.address = f"{variable}={bare(address)}" if variable else address
        self.variables = "WANDB_MODE=online "
        try:
            require_answer(address, variable or "WANDB_MODE=online")
        except EnvironmentProblem as error:
            if not variable:  # of W&B's own address nothing can be corrected
                error.hint = "is there a network? WANDB_BASE_URL names a server of your own"
            raise
        try:
            self._wandb.login(verify=True)
        except (self._wandb.errors.UsageError, self._wandb.errors.AuthenticationError) as error:
            cure = "set WANDB_API_KEY or run wandb login; WANDB_MODE=offline needs neither"
            raise CredentialMissing(f"no login for W&B at {bare(address)}: {error}", hint=cure) from None

    def owner(self, project: str) -> str | None:
        if not self.updates:
            return super().owner(project)
        with client_errors(f"W&B at {self.address}"):
            try:
                first = next(iter(self._wandb.Api().runs(project, order="+created_at", per_page=1)), None)
            except ValueError:  # there is no such project
                return None
        return None if first is None else str(first.config.get("study", ""))

    def begin(self, project: str, study_id: str) -> None:
        self.project, self.study_id = project, study_id
        self.where = f"W&B project {project} at {self.address}"
        if not self.updates:
            super().begin(project, study_id)
            self.runs_of(project).mkdir(exist_ok=True)
            files = f"{self.runs_of(project)}/wandb"
            self.where = f"wandb leet {files}, or to send them to your account: wandb sync {files}/offline-run-*"

    def start(self, run: TrackedRun) -> None:
        self._open[run.run_id] = self._init(run.run_id, run.name, str(run.settings.get("purpose", "")), run.settings)

    def _init(self, run_id: str, name: str, group: str, config: Mapping[str, str | int | float]) -> Any:
        settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
        return self._wandb.init(
            project=self.project,
            id=run_id,
            resume="allow",
            name=name,
            group=group,
            config=dict(config),
            dir=str(self.folder if self.updates else self.runs_of(self.project)),
            mode=self.mode,
            reinit="create_new",
            settings=settings,
        )

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        for step in steps:
            remarks = {"status": step.status, "decision": step.decision, "description": step.description}
            time = {} if step.at is None else {"_timestamp": step.at}
            self._open[run.run_id].log({**step.values, **remarks, **time}, step=step.number)

    def end(self, run: TrackedRun) -> None:
        opened = self._open.pop(run.run_id)
        figures = {f"run/{key}": value for key, value in run.figures.items()}  # a step has a `kept` too
        opened.config.update(dict(run.facts), allow_val_change=True)  # W&B groups by what is in the config
        opened.summary.update({**figures, **run.facts})
        opened.finish(exit_code=0 if run.state in ("finished", "imported") else 1)

    def conclude(self, verdict: Verdict) -> None:
        named = {key: verdict[key] for key in ("study_name", "metaloop") if key in verdict}
        config = {"study": self.study_id, "name": "verdict", **named}
        opened = self._init("verdict", "verdict", "verdict", config)
        for key in list(opened.summary.keys()):  # an earlier verdict's, where the run is resumed
            if key not in verdict and not key.startswith("_"):
                del opened.summary[key]
        opened.summary.update(dict(verdict))
        opened.finish()

    def close(self) -> None:
        for opened in self._open.values():
            opened.config.update({"state": KILLED}, allow_val_change=True)
            opened.summary.update({"state": KILLED})
            opened.finish(exit_code=1)


def make(folder: Path) -> Wandb:
    return Wandb(folder)
