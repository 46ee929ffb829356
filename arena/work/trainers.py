"""The trainers of a worker: those of each task of its study, opened when a job first asks for that task."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from arena.study.settings import StudyConfig
from arena.work.choice import on_cluster
from arena.work.lease import Leases
from programs.common.closing import Closing
from trainer.data import DataStore
from trainer.devices import Devices
from trainer.experiment import Trainer
from trainer.outcome import Cache

MOST_OPEN = 3  # each holds a warm template with torch in it


class Trainers(Closing):
    """Opens what is asked for, and closes the one that has been idle longest where more than a few are open.

    ``cached``: whether outcomes go through the study's cache.
    """

    def __init__(self, folder: Path, config: StudyConfig, *, cached: bool = True) -> None:
        self.folder = folder
        self.config = config
        self.cache = Cache(folder / "cache") if cached else None
        self._open: OrderedDict[str, Devices] = OrderedDict()  # by task_id, the one used last at the end

    def at(self, task_id: str) -> Devices:
        """A run's devices on that task of the study (empty: its first). Raises NotFound for one that it has not."""
        config = self.config.at(task_id)
        if config.task_id not in self._open:
            self._open[config.task_id] = self._start(config)
            if len(self._open) > MOST_OPEN:
                _close(self._open.popitem(last=False)[1])
        self._open.move_to_end(config.task_id)
        return self._open[config.task_id]

    def _start(self, config: StudyConfig) -> Devices:
        task = config.loaded_task()
        data = DataStore(task, config.streams, self.folder / "data", confined=bool(config.confined))
        first = Trainer(task, data, cache=self.cache, fixed_steps=config.fixed_steps, sandbox=config.sandbox)
        if task.law is None and not on_cluster():
            leases = Leases(self.folder / "devices", config.workers * config.devices)
            first.lease, first.alone = leases.one, leases.alone
        return Devices(first, config.devices)

    def close(self) -> None:
        while self._open:
            _close(self._open.popitem()[1])


def _close(devices: Devices) -> None:
    devices.close()
    devices.trainer.close()
