"""What a person gives a study while it runs: a program or a veto. Each is a treatment with a name of its own.

`metaloop steer` leaves a request as a file in STUDY/steer/. The process that works on the study takes it in before it
writes the next generation, and records it in the ledger with that generation. A program becomes a child
whose operator is `steered`, which every view, the lineage and the evidence show; a veto ends breeding from what it
names. A request never changes what was measured before, and nothing is taken in after the last generation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import SteerEvent
from arena.study.study import Study
from meta.archive import Archive
from meta.breed import Attempt, lint_error, next_version
from meta.mutators.base import ChildProposal
from meta.novelty import Novelty
from programs.common.bounded import json_value
from programs.common.errors import Corrupt, ProgramError
from programs.common.files import read_regular, write_whole
from programs.common.ids import content_id
from programs.common.text import one_line
from programs.program import Program

INBOX, OPERATOR = "steer", "steered"


def ask(folder: Path, what: str, text: str, *, name: str = "", because: str = "") -> None:
    """Leave a request for the study in ``folder``. ``text``: of the program, or the id that is vetoed."""
    asked_at = datetime.now(UTC).isoformat()
    request_id = content_id("w", what, text, asked_at, str(time.monotonic_ns()))
    request = SteerEvent(
        wish_id=request_id, what=what, text=text, name=name, because=because, asked_at=asked_at, generation=0
    )
    inbox = folder / INBOX
    inbox.mkdir(exist_ok=True)
    write_whole(inbox / f"{request_id}.json", json.dumps(request.to_record()).encode())


def waiting_requests(folder: Path) -> list[SteerEvent]:
    """The requests that have not been taken in, in the order in which they were asked; a damaged file is left out."""
    requests = list[SteerEvent]()
    for path in (folder / INBOX).glob("*.json"):
        with suppress(OSError, Corrupt, ValueError):
            requests.append(SteerEvent.parse(json_value(read_regular(path))))
    return sorted(requests, key=lambda request: (request.asked_at, request.wish_id))


def take_in(study: Study, generation: int) -> list[SteerEvent]:
    """Record the requests that wait, as of this generation; all those of it. Once a child of the generation is written,
    also before a kill, later requests wait for the next, because the generation has to be written the same again."""
    for request in [] if study.state.writes(generation) else waiting_requests(study.folder):
        if request.wish_id not in study.state.steering:
            study.record(replace(request, generation=generation))
        (study.folder / INBOX / f"{request.wish_id}.json").unlink(missing_ok=True)
    return [request for request in study.state.steering.values() if request.generation == generation]


def given(request: SteerEvent, study: Study, novelty: Novelty) -> Attempt:
    """A program that a person gave, admitted if it lints without errors and behaves like no other of the study."""
    because = f" ({one_line(request.because)})" if request.because else ""
    reason = f"program given while the study ran: {request.name}{because}"
    proposal = ChildProposal(request.text, OPERATOR, reason, (request.wish_id,), ())
    taken = [program.name for program in study.state.programs.values()]
    try:
        program = Program.parse(
            request.text, next_version(request.name, taken) if request.name in taken else request.name
        )
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
    refused = study.state.vetoes & parts(program)
    return f"vetoed while the study ran: {', '.join(sorted(refused))}" if refused else ""


def allowed(study: Study, archive: Archive) -> Archive:
    """The archive without vetoed programs; the whole if none would be left."""
    left = [program_id for program_id, program in archive.programs.items() if not vetoed(study, program)]
    return archive.only(left) if left and len(left) < len(archive.programs) else archive


@dataclass(frozen=True)
class SteeringOutcome:
    """A request and what came of it. ``state``: waiting, taken in, accepted, refused or vetoed."""

    request: SteerEvent
    state: str
    outcome: str
    child_id: str | None = None


def steering_outcomes(folder: Path, state: StudyState) -> Iterator[SteeringOutcome]:
    """All the requests to a study in the order in which they were asked, with what came of each."""
    mutations = {request_id: mutation for mutation in state.mutations for request_id in mutation.evidence_ids}
    for request in state.steering.values():
        mutation = mutations.get(request.wish_id)
        if request.what == "veto":
            effect = f"no parent from generation {request.generation} on, and not the champion"
            yield SteeringOutcome(request, "vetoed", effect)
        elif mutation is None:
            yield SteeringOutcome(request, "taken in", f"for generation {request.generation}")
        elif mutation.accepted:
            effect = f"raced in generation {request.generation} as {state.programs[str(mutation.child_id)].name}"
            yield SteeringOutcome(request, "accepted", effect, mutation.child_id)
        else:
            yield SteeringOutcome(request, "refused", mutation.reason)
    for request in waiting_requests(folder):
        if request.wish_id not in state.steering:
            yield SteeringOutcome(request, "waiting", f"for generation {max(state.generations, default=0) + 1}")
