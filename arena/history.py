"""What a study's ledger already holds, indexed for going on from there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.ledger import read


class History:
    """Events by what they are about. A resumed study asks it before it does anything again."""

    def __init__(self) -> None:
        self.study: Mapping[str, Any] = {}
        self.programs: dict[str, Mapping[str, Any]] = {}
        self.matches: dict[str, Mapping[str, Any]] = {}
        self.ended_matches: dict[str, Mapping[str, Any]] = {}
        self.generations: dict[int, Mapping[str, Any]] = {}
        self._mutations: dict[tuple[int, int], Mapping[str, Any]] = {}
        self.baselines: dict[tuple[str, str, int], Mapping[str, Any]] = {}  # by task, stream and seed
        self.experiments: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self.decisions: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self.waves: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # what leased devices waited, by run
        self.calls: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # of models, by run; "": of the outer loop
        self.agents: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # what coding agents left, by run
        self.verifications: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
        self.ablations: dict[str, Mapping[str, Any]] = {}
        self.replays: dict[str, dict[tuple[tuple[str, ...], int], Mapping[str, Any]]] = defaultdict(dict)
        self.best_of: dict[str, Mapping[str, Any]] = {}
        self.champion: Mapping[str, Any] | None = None
        self.entries: dict[str, Mapping[str, Any]] = {}  # of a contest, by entry_id

    @classmethod
    def read(cls, folder: Path) -> History:
        history = cls()
        for event in read(folder):
            history.take(event)
        return history

    @property
    def mutations(self) -> list[Mapping[str, Any]]:
        """Attempts of the closed generations; those of one that was cut short are made anew."""
        return [m for m in self._mutations.values() if m["generation"] in self.generations]

    def arms(self, purpose: str) -> list[Mapping[str, Any]]:
        """The arms of the matches of that purpose, as they were announced."""
        return [arm for match in self.matches.values() if match["purpose"] == purpose for arm in match["arms"]]

    def take(self, event: Mapping[str, Any]) -> None:
        keep = getattr(self, f"_take_{event['kind'].replace('-', '_')}", None)
        if keep is not None:
            keep(event)

    def _take_study(self, event: Mapping[str, Any]) -> None:
        self.study = event

    def _take_program(self, event: Mapping[str, Any]) -> None:
        self.programs.setdefault(event["program_id"], event)

    def _take_match(self, event: Mapping[str, Any]) -> None:
        self.matches.setdefault(event["match_id"], event)

    def _take_match_ended(self, event: Mapping[str, Any]) -> None:
        self.ended_matches.setdefault(event["match_id"], event)

    def _take_generation(self, event: Mapping[str, Any]) -> None:
        self.generations.setdefault(event["generation"], event)

    def _take_mutation(self, event: Mapping[str, Any]) -> None:
        self._mutations[event["generation"], event["attempt"]] = event

    def _take_baseline(self, event: Mapping[str, Any]) -> None:
        self.baselines.setdefault((event["task"], event["stream"], event["seed"]), event)

    def _take_experiment(self, event: Mapping[str, Any]) -> None:
        self.experiments[event["run_id"]].setdefault(event["experiment_id"], event)

    def _take_decision(self, event: Mapping[str, Any]) -> None:
        self.decisions[event["run_id"]][event["experiment_id"]] = event

    def _take_wave(self, event: Mapping[str, Any]) -> None:
        self.waves[event["run_id"]].append(event)

    def _take_call(self, event: Mapping[str, Any]) -> None:
        self.calls[event.get("run_id") or ""].append(event)

    def _take_agent(self, event: Mapping[str, Any]) -> None:
        self.agents[event["run_id"]].append(event)

    def recorded(self, run_id: str) -> tuple[Mapping[str, Any], ...]:
        """What an earlier attempt at a run left: experiments in order, decisions, waits, calls and agents."""
        experiments = sorted(self.experiments.get(run_id, {}).values(), key=lambda e: e["number"])
        others = (*self.waves.get(run_id, ()), *self.calls.get(run_id, ()), *self.agents.get(run_id, ()))
        return (*experiments, *self.decisions.get(run_id, {}).values(), *others)

    def _take_verification(self, event: Mapping[str, Any]) -> None:
        self.verifications[event["run_id"]].setdefault(event["seed"], event)

    def _take_ablation(self, event: Mapping[str, Any]) -> None:
        self.ablations.pop(event["ablation_id"], None)  # the last one written is the one to go on with
        self.ablations[event["ablation_id"]] = event

    def _take_replay(self, event: Mapping[str, Any]) -> None:
        key = tuple(event["commits"]), event["seed"]
        self.replays[event["ablation_id"]].setdefault(key, event)

    def _take_best_of(self, event: Mapping[str, Any]) -> None:
        self.best_of.setdefault(event["arm_id"], event)

    def _take_entry(self, event: Mapping[str, Any]) -> None:
        self.entries.setdefault(event["entry_id"], event)

    def _take_champion(self, event: Mapping[str, Any]) -> None:
        self.champion = event
