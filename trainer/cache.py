"""Cache of outcomes, so that the same source, seed, task, budget and hardware class is never trained twice."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from programs.errors import EnvironmentProblem
from trainer.outcome import Outcome
from trainer.user_files import private_folder


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
        """Store an outcome atomically, by renaming a complete file. EnvironmentProblem if that fails."""
        path = self._path(key)
        try:
            private_folder(path.parent)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                json.dump(outcome.to_json(), file)
            os.replace(file.name, path)
        except OSError as error:
            message = f"{path.parent}: cannot write: {error.strerror}"
            raise EnvironmentProblem(message, hint="free space or choose another folder") from None
