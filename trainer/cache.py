"""Cache of outcomes: the same source, seed, task, budget and hardware class is never trained twice."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from trainer.outcome import Outcome


class Cache:
    """One small JSON file per outcome; workers of one machine share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str) -> Path:
        return self.folder / key[:3] / f"{key}.json"

    def get(self, key: str) -> Outcome | None:
        """The stored outcome; None if there is none, or if its file is damaged."""
        try:
            return Outcome.from_json(json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Store by rename, so that a reader sees all of it or nothing."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(outcome.to_json(), file)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
