"""What a person gives a study while it runs: a program or a veto. Each is a treatment with a name of its own.

`metaloop steer` leaves a wish as a file in STUDY/steer/. The process that works on the study takes it in before it
writes the next generation, and records it in the ledger with that generation. A program becomes a child
whose operator is `steered`, which every view, the lineage and the evidence show; a veto ends breeding from what it
names. A wish never changes what was measured before, and nothing is taken in after the last generation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import SteerEvent
from meta.breed import Attempt, lint_error, next_version
from meta.mutators.base import ChildProposal
from meta.novelty import Novelty
from programs.bounded import json_value
from programs.errors import Corrupt, ProgramError
from programs.files import read_regular, write_whole
from programs.ids import content_id
from programs.program import Program
from programs.text import one_line

if TYPE_CHECKING:
    from arena.study import Study
    from meta.archive import Archive

INBOX, OPERATOR = "steer", "steered"


def ask(folder: Path, what: str, text: str, *, name: str = "", because: str = "") -> None:
    """Leave a wish for the study in ``folder``. ``text``: of the program, or the id that is vetoed."""
    asked_at = datetime.now(UTC).isoformat()
    wish_id = content_id("w", what, text, asked_at, str(time.monotonic_ns()))
    wish = SteerEvent(
        wish_id=wish_id, what=what, text=text, name=name, because=because, asked_at=asked_at, generation=0
    )
    inbox = folder / INBOX
    inbox.mkdir(exist_ok=True)
    write_whole(inbox / f"{wish_id}.json", json.dumps(wish.to_record()).encode())


def waiting(folder: Path) -> list[SteerEvent]:
    """The wishes that have not been taken in, in the order in which they were asked; a damaged file is left out."""
    wishes = list[SteerEvent]()
    for path in (folder / INBOX).glob("*.json"):
        with suppress(OSError, Corrupt, ValueError):
            wishes.append(SteerEvent.parse(json_value(read_regular(path))))
    return sorted(wishes, key=lambda wish: (wish.asked_at, wish.wish_id))


def take_in(study: Study, generation: int) -> list[SteerEvent]:
    """Record the wishes that wait, as of this generation; all those of it. Once a child of the generation is written,
    also before a kill, later wishes wait for the next, because the generation has to be written the same again."""
    for wish in [] if study.state.writes(generation) else waiting(study.folder):
        if wish.wish_id not in study.state.steering:
            study.record(replace(wish, generation=generation))
        (study.folder / INBOX / f"{wish.wish_id}.json").unlink(missing_ok=True)
    return [wish for wish in study.state.steering.values() if wish.generation == generation]


def given(wish: SteerEvent, study: Study, novelty: Novelty) -> Attempt:
    """A program that a person gave, admitted if it lints without errors and behaves like no other of the study."""
    because = f" ({one_line(wish.because)})" if wish.because else ""
    reason = f"program given while the study ran: {wish.name}{because}"
    proposal = ChildProposal(wish.text, OPERATOR, reason, (wish.wish_id,), ())
    taken = [program.name for program in study.state.programs.values()]
    try:
        program = Program.parse(wish.text, next_version(wish.name, taken) if wish.name in taken else wish.name)
    except ProgramError as error:
        return Attempt(proposal, None, f"does not parse: {error.message}")
    if problem := lint_error(program):
        return Attempt(proposal, program, problem)
    twin = novelty.meet(program)
    return Attempt(proposal, program, f"behaves like {twin}" if twin else "")


def parts(program: Program) -> set[str]:
    """The ids that a veto may name: of the program and of its directives."""
    return {program.program_id, *(directive.directive_id for directive in program.directives)}


def vetoed(study: Study, program: Program) -> str:
    """Why a program may not breed, be written or become the champion; empty if nothing in it is vetoed."""
    named = study.state.vetoes & parts(program)
    return f"vetoed while the study ran: {', '.join(sorted(named))}" if named else ""


def allowed(study: Study, archive: Archive) -> Archive:
    """The archive without vetoed programs; the whole if none would be left."""
    left = [program_id for program_id, program in archive.programs.items() if not vetoed(study, program)]
    return archive.only(left) if left and len(left) < len(archive.programs) else archive


@dataclass(frozen=True)
class Wish:
    """A wish and what came of it. ``state``: waiting, taken in, accepted, refused or vetoed."""

    event: SteerEvent
    state: str
    outcome: str
    child_id: str | None = None


def wishes(folder: Path, state: StudyState) -> Iterator[Wish]:
    """All the wishes of a study in the order in which they were asked, with what came of each."""
    written = {wish_id: mutation for mutation in state.mutations for wish_id in mutation.evidence_ids}
    for event in state.steering.values():
        mutation = written.get(event.wish_id)
        if event.what == "veto":
            yield Wish(event, "vetoed", f"no parent from generation {event.generation} on, and not the champion")
        elif mutation is None:
            yield Wish(event, "taken in", f"for generation {event.generation}")
        elif mutation.accepted:
            name = state.programs[str(mutation.child_id)].name
            yield Wish(event, "accepted", f"raced in generation {event.generation} as {name}", mutation.child_id)
        else:
            yield Wish(event, "refused", mutation.reason)
    for event in waiting(folder):
        if event.wish_id not in state.steering:
            yield Wish(event, "waiting", f"for generation {max(state.generations, default=0) + 1}")
