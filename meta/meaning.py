"""The meaning of a program's statements, as vectors of the study's embedding model.

The calls are made as those of other models: under the same limits, with retries, recorded in the ledger and in a
recording. So a study that is resumed or replayed compares the same vectors. A program is embedded once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arena.drain import drained
from inner_loop.models import provider
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message, NoReply
from inner_loop.models.scrub import scrub
from inner_loop.models.vectors import unpacked
from inner_loop.run_context import RunContext
from programs.errors import NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena.executor import Progress
    from arena.study import Study
    from inner_loop.run_context import EmbeddingModel

PATIENCE = 60.0  # seconds of retries: words can decide instead, so a study need not wait longer
AT_ONCE = 64  # texts of one call; some providers take no more than 96
PURPOSE = "embed "


class Unanswered(Exception):
    """The embedding model does not answer, which the user has been told."""


class Meaning:
    """Calls have numbers from 0, below those of models that write programs. After a call that is not answered none is
    made until ``ask_again``."""

    def __init__(self, study: Study, setting: EmbeddingModel, progress: Progress) -> None:
        self.model, self.same_from = setting.model, setting.same_from
        self._study = study
        self._progress = progress
        self._vectors: dict[str, NDArray[np.float64]] = {}
        self._silent = False
        earlier = [call for call in study.state.calls if call.purpose.startswith(PURPOSE)]
        self._numbers = {call.purpose: call.number for call in earlier if call.status != "failed"}
        self._next = 1 + max((call.number for call in earlier), default=-1)

    def of(self, program_id: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """A row of length 1 for each statement of a program. Raises Unanswered; NotFound if a recording lacks the call,
        and the exception of a stopped study."""
        if self._silent:
            raise Unanswered
        if program_id not in self._vectors:
            starts = range(0, len(texts), AT_ONCE)
            parts = [self._part(program_id, start, texts[start : start + AT_ONCE]) for start in starts]
            self._vectors[program_id] = np.concatenate(parts)
        return self._vectors[program_id]

    def ask_again(self) -> None:
        """For a new generation: the model may answer by now."""
        self._silent = False

    def _part(self, program_id: str, start: int, texts: Sequence[str]) -> NDArray[np.float64]:
        purpose = f"{PURPOSE}{program_id}" + (f" from {start}" if start else "")
        number = self._numbers.get(purpose, self._next)
        self._next = max(self._next, number + 1)
        messages = [Message("user", text) for text in texts]
        try:
            reply = self._client.numbered(number, messages, max_tokens=0, purpose=purpose)
        except Stopped:
            raise drained(self._study) from None
        except NoReply as gone:
            if isinstance(gone.problem, NotFound):  # the recording ends: the user must fix it
                raise gone.problem from None
            self._silent = True
            why = scrub(gone.problem.message)
            text = f"until the next generation, words decide whether a child repeats a program, not {self.model}: {why}"
            self._progress({"kind": "note", "text": text})
            raise Unanswered from None
        return unpacked(reply.text)

    @cached_property
    def _client(self) -> ModelClient:
        """Opened by the first call."""
        config = self._study.config.staff
        changes = {"models": (self.model,), "context_tokens": None, "patience": min(PATIENCE, config.patience)}
        record, replay = (os.environ.get(name) for name in ("METALOOP_RECORD", "METALOOP_REPLAY"))
        context = RunContext(
            config=config.model_copy(update=changes),
            study=self._study.folder,
            recorded=tuple(self._study.state.calls),
            emit=self._study.record,
            should_stop=(self._study.folder / "stop").exists,
            record=Path(record) if record else None,
            replay=Path(replay) if replay else None,
        )
        return ModelClient(context, self._study.streams.seed("search", "embeddings"), ask=provider.embed)


def meaning_of(study: Study, progress: Progress) -> Meaning | None:
    """None if the study has no embedding model: then words decide."""
    setting = study.config.staff.embeddings
    return Meaning(study, setting, progress) if setting else None
