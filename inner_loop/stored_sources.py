"""The sources of the experiments that a run has recorded, to go on from them or to train them again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from inner_loop.events import Experiment
from programs.common.closing import Closing
from programs.common.errors import Corrupt
from programs.common.safe_git import BorrowedRepository
from trainer.edits import EditSpace
from trainer.source import Source


class StoredSources(Closing):
    """Sources by the known edits that the ledger has, else from the repository in a run's ``folder`` (None: there is
    none), which may be a stranger's."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._repository: BorrowedRepository | None = None

    def close(self) -> None:
        self._stack.close()

    def source_of(self, recorded: Experiment, parent: Source, edits: EditSpace) -> Source:
        """The source of an experiment, made from its ``parent``'s. Raises Corrupt where nothing gives it."""
        if recorded.edit:
            source: Source | None = edits.apply(parent, recorded.edit)
        elif recorded.source_id == parent.source_id:
            source = parent
        else:
            source = self._committed(recorded.number, parent)
        if source is None or source.source_id != recorded.source_id:
            raise Corrupt(
                f"run {recorded.run_id}: the source of experiment {recorded.number} is not in its repository",
                hint="restore the folder runs of the study, or start it again as a new run",
                ids=[recorded.run_id, recorded.experiment_id],
            )
        return source

    def _committed(self, number: int, parent: Source) -> Source | None:
        if self._folder is None or not (self._folder / ".git").is_dir():
            return None
        if self._repository is None:
            self._repository = self._stack.enter_context(BorrowedRepository.open(self._folder))
        repository, commit = self._repository, f"refs/experiments/{number:04d}"
        texts = [(name, repository.file(commit, name)) for name, _ in parent.files]
        return Source(tuple((name, (text or b"").decode("utf-8", "replace")) for name, text in texts))
