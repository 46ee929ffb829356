"""Weights & Biases: one run for each run, grouped by the purpose of its match. Offline unless WANDB_MODE=online."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.trackers.contract import (
    TrackedRun,
    TrackedStudy,
    Tracker,
    Verdict,
    bare,
    client_errors,
    needed,
    require_answer,
)
from programs.errors import CredentialMissing, UsageError


class Wandb(Tracker):
    def __init__(self, folder: Path) -> None:
        self._wandb: Any = needed("wandb", "wandb")
        self._project = self._study_id = ""
        self._folder = folder
        self._mode = os.environ.get("WANDB_MODE", "offline")
        if self._mode not in ("offline", "online"):
            raise UsageError(f"WANDB_MODE={self._mode} is neither offline nor online", hint="unset WANDB_MODE")
        if self._mode == "online":
            self._sign_in()

    def _sign_in(self) -> None:
        """Raises what is wrong with the server or the credentials."""
        if server := os.environ.get("WANDB_BASE_URL"):
            require_answer(server, "WANDB_BASE_URL")
        with client_errors("W&B"):
            self._address = bare(str(self._wandb.setup().settings.base_url))
        try:
            self._wandb.login(verify=True)
        except (self._wandb.errors.UsageError, self._wandb.errors.AuthenticationError) as error:
            cure = "set WANDB_API_KEY or run wandb login; WANDB_MODE=offline needs neither"
            raise CredentialMissing(f"no login for W&B at {self._address}: {error}", hint=cure) from None

    def has(self, project: str) -> bool:
        if self._mode == "offline":
            return (self._folder / project).exists()
        try:
            return next(iter(self._wandb.Api().runs(project, per_page=1)), None) is not None
        except ValueError:  # there is no such project
            return False

    def begin(self, project: str, study: TrackedStudy) -> None:
        self._project, self._study_id = project, study.study_id
        if self._mode == "online":
            self.where = f"W&B project {project} at {self._address}"
            return
        self._folder /= project
        self._folder.mkdir(parents=True)
        files = f"{self._folder}/wandb"
        self.where = f"wandb leet {files}, or to send them to your account: wandb sync {files}/offline-run-*"

    def send(self, run: TrackedRun) -> None:
        group = str(run.settings.get("purpose", ""))
        with self._run(run.run_id, run.name, group, run.settings) as opened:
            for step in run.decided:
                remarks = {"status": step.status, "decision": step.decision, "description": step.description}
                time = {} if step.at is None else {"_timestamp": step.at}
                opened.log({**step.values, **remarks, **time}, step=step.number)
            figures = {f"run/{key}": value for key, value in run.figures.items()}  # a step has a `kept` too
            opened.config.update(dict(run.facts), allow_val_change=True)  # W&B groups by what is in the config
            opened.summary.update({**figures, **run.facts})
            opened.finish(exit_code=0 if run.succeeded else 1)

    def conclude(self, verdict: Verdict) -> None:
        named = {key: verdict[key] for key in ("study_name", "metaloop") if key in verdict}
        config = {"study": self._study_id, "name": "verdict", **named}
        with self._run("verdict", "verdict", "verdict", config) as opened:
            opened.summary.update(dict(verdict))

    def _run(self, run_id: str, name: str, group: str, config: Mapping[str, str | int | float]) -> Any:
        settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
        return self._wandb.init(
            project=self._project,
            id=run_id,
            name=name,
            group=group,
            config=dict(config),
            dir=str(self._folder),
            mode=self._mode,
            reinit="create_new",
            settings=settings,
        )


def make(folder: Path) -> Wandb:
    return Wandb(folder)
