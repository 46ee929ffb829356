"""What a person gives a study while it runs: an idea, a program, or a veto. Each is a treatment with a name of its own.

`metaloop steer` leaves a wish as a file in STUDY/steer/. The process that works on the study takes it in before it
writes the next generation, and records it in the ledger with that generation. A program and an idea become children
whose operator is `steered`, which every view, the lineage and the evidence show; a veto ends breeding from what it
names. A wish never changes what was measured before, and nothing is taken in after the last generation.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import SteerEvent
from analysis.statistics import mean_interval
from analysis.wording import estimate, listed, many, plain_text
from meta.breed import Attempt, next_version
from meta.confirmation import FINAL
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.queue_first import queue_first
from meta.novelty import Novelty
from programs.edit import add_directive, reorder_ideas
from programs.errors import Corrupt, ProgramError
from programs.files import read_regular
from programs.ids import content_id
from programs.lint import lint
from programs.program import Program
from programs.text import one_line

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.evidence import Evidence
    from arena.study import Study
    from meta.archive import Archive

INBOX, OPERATOR = "steer", "steered"
IDEAS = "Ideas"
FIELDS = ("wish_id", "what", "text", "name", "because", "asked_at")


def ask(folder: Path, what: str, text: str, *, name: str = "", because: str = "") -> str:
    """Leave a wish for the study in ``folder``; its id. ``text``: of the idea or program, or the id that is vetoed."""
    asked_at = datetime.now(UTC).isoformat()
    wish_id = content_id("w", what, text, asked_at, str(time.monotonic_ns()))
    values = (wish_id, what, text, name, because, asked_at)
    inbox = folder / INBOX
    inbox.mkdir(exist_ok=True)
    partial = inbox / f".{wish_id}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(dict(zip(FIELDS, values, strict=True)), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(inbox / f"{wish_id}.json")
    return wish_id


def waiting(folder: Path) -> list[SteerEvent]:
    """The wishes that have not been taken in, in the order in which they were asked; a damaged file is left out."""
    wishes = []
    for path in sorted((folder / INBOX).glob("*.json")):
        try:
            values = json.loads(read_regular(path))
            wishes.append(SteerEvent(**{field: str(values[field]) for field in FIELDS}, generation=0))
        except (OSError, Corrupt, ValueError, KeyError, TypeError, RecursionError):
            continue
    return sorted(wishes, key=lambda wish: (wish.asked_at, wish.wish_id))


def take_in(study: Study, generation: int) -> list[SteerEvent]:
    """Record the wishes that wait, as of this generation; all those of it. Once a child of the generation is written,
    also before a kill, later wishes wait for the next, because the generation has to be written the same again."""
    for wish in [] if study.state.writes(generation) else waiting(study.folder):
        if wish.wish_id not in study.state.steering:
            study.record(replace(wish, generation=generation))
        (study.folder / INBOX / f"{wish.wish_id}.json").unlink(missing_ok=True)
    return [wish for wish in study.state.steering.values() if wish.generation == generation]


def with_idea(text: str, idea: str) -> str:
    """The text with one more idea behind those at the head of its list that change several settings at once, so that
    these do not undo it and a run tries it early."""
    before = Program.parse(text).ideas
    text = add_directive(text, IDEAS, idea)
    now = Program.parse(text).ideas
    at = next((i for i, known in enumerate(before) if len(known.terms) < 2), len(before))
    if [idea.text for idea in now[: len(before)]] != [idea.text for idea in before]:
        return text  # ideas under headings of their own follow, which another order would mix up
    return reorder_ideas(text, [*range(at), *range(len(before), len(now)), *range(at, len(before))])


class AddIdea:
    """``steered``: the first parent with an idea that a person gave, and its list first."""

    name = OPERATOR
    parents = 1

    def __init__(self, wish: SteerEvent) -> None:
        self.wish = wish

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        reason = reason_of(self.wish)
        try:
            text = queue_first(with_idea(parents[0].program.text, self.wish.text))
        except ProgramError as error:
            text = parents[0].program.text
            return ChildProposal(
                text, self.name, reason, (self.wish.wish_id,), parent_ids(parents), refusal=error.message
            )
        return ChildProposal(text, self.name, reason, (self.wish.wish_id,), parent_ids(parents))


def given(wish: SteerEvent, study: Study, novelty: Novelty) -> Attempt:
    """A program that a person gave, admitted if it lints without errors and behaves like no other of the study."""
    proposal = ChildProposal(wish.text, OPERATOR, reason_of(wish), (wish.wish_id,), ())
    try:
        taken = [program.name for program in study.state.programs.values()]
        name = next_version(wish.name, taken) if wish.name in taken else wish.name
        program = Program.parse(wish.text, name)
    except ProgramError as error:
        return Attempt(proposal, None, f"does not parse: {error.message}")
    errors = [message for message in lint(program) if message.level == "error"]
    if errors:
        return Attempt(proposal, program, f"lint: line {errors[0].line}: {errors[0].message}")
    twin = novelty.meet(program)
    return Attempt(proposal, program, f"behaves like {twin}" if twin else "")


def reason_of(wish: SteerEvent) -> str:
    """``idea given while the study ran: …``, with the person's reason."""
    what = wish.name if wish.what == "program" else one_line(wish.text)
    return f"{wish.what} given while the study ran: {what}{f' ({one_line(wish.because)})' if wish.because else ''}"


def vetoed(study: Study, program: Program) -> str:
    """Why a program may not breed, be written or become the champion; empty if nothing in it is vetoed."""
    ids = {program.program_id, *(directive.directive_id for directive in program.directives)}
    wish = next((w for w in study.state.steering.values() if w.what == "veto" and w.text in ids), None)
    return "" if wish is None else f"vetoed while the study ran: {wish.text}"


def allowed(study: Study, archive: Archive) -> Archive:
    """The archive without vetoed programs; the whole if none would be left."""
    left = [program_id for program_id, program in archive.programs.items() if not vetoed(study, program)]
    return archive.only(left) if left and len(left) < len(archive.programs) else archive


def _as_program(state: StudyState, program_id: str | None) -> str:
    """`` as NAME: gain +0.12 nats (4 runs), +0.02 nats [...] over its parent``; without a gain on several tasks, which
    have different units."""
    if (known := state.programs.get(str(program_id))) is None:
        return ""
    gains, unit = _gains(state, known.program_id), _unit(state)
    if unit is None or not gains:
        return f" as {known.name}"
    mean = mean_interval(list(gains.values()))
    size = plain_text(estimate(mean.mean, mean.low, mean.high, unit))
    over = _over_parent(state, known.program_id)
    return f" as {known.name}: gain {size} ({many(mean.n, 'run')}){f'; {over}' if over else ''}"


def _over_parent(state: StudyState, program_id: str) -> str:
    """``on the 4 seeds that both ran +0.05 nats [-0.01 to 0.10] over its parent NAME: not significant``; empty for a
    program without a parent, or that never ran beside it."""
    parent = next(iter(state.programs[program_id].parent_ids), None)
    own, before = _gains(state, program_id), _gains(state, str(parent))
    pairs = [own[key] - before[key] for key in own.keys() & before.keys()]
    if not pairs or (unit := _unit(state)) is None:
        return ""
    mean = mean_interval(pairs)
    size = plain_text(estimate(mean.mean, mean.low, mean.high, unit))
    clear = mean.low is not None and mean.high is not None and not mean.low <= 0 <= mean.high
    said = "too few for an interval" if mean.low is None else "significant" if clear else "not significant"
    return (
        f"on the {many(mean.n, 'seed')} that both ran {size} over its parent {state.programs[str(parent)].name}: {said}"
    )


def _unit(state: StudyState) -> str | None:
    """Of the gains of the search; None on several tasks."""
    units = {match.task: match.config.unit for match in state.matches.values() if match.purpose not in FINAL}
    return next(iter(units.values())) if len(units) == 1 else None


def _gains(state: StudyState, program_id: str) -> dict[tuple[str, int], float]:
    """(match, run seed) → verified gain, of the runs that chose programs."""
    chosen = {match.match_id for match in state.matches.values() if match.purpose not in FINAL}
    runs = [(run.started, run.gain) for run in state.runs.values() if run.started and run.ended]
    return {
        (one.match_id, one.run_seed): gain
        for one, gain in runs
        if gain is not None and one.program_id == program_id and one.match_id in chosen
    }


def kinds(given: Iterable[str]) -> str:
    """``2 ideas and 1 veto``."""
    counts = Counter(given)
    return listed(many(counts[what], what) for what in ("idea", "program", "veto") if counts[what])


@dataclass(frozen=True)
class Wish:
    """A wish and what came of it. ``state``: waiting, taken in, accepted, refused, vetoed or dropped."""

    event: SteerEvent
    state: str
    outcome: str
    child_id: str | None = None


def wishes(folder: Path, state: StudyState) -> Iterator[Wish]:
    """All the wishes of a study in the order in which they were asked, with what came of each."""
    last = max(state.generations, default=0)
    for event in state.steering.values():
        mutation = next((m for m in state.mutations if event.wish_id in m.evidence_ids), None)
        if event.what == "veto":
            what = state.programs[event.text].name if event.text in state.programs else "programs with this statement"
            outcome = f"from generation {event.generation} on, {what} cannot be a parent or the champion"
            yield Wish(event, "vetoed", outcome)
        elif mutation and mutation.accepted:
            outcome = f"raced in generation {mutation.generation}{_as_program(state, mutation.child_id)}"
            yield Wish(event, "accepted", outcome, mutation.child_id)
        elif mutation:
            yield Wish(event, "refused", mutation.reason)
        elif event.generation > last:
            yield Wish(event, "taken in", f"generation {event.generation} is being written")
        else:
            yield Wish(event, "dropped", f"generation {event.generation} had no room for it")
    for event in waiting(folder):
        if event.wish_id not in state.steering:
            yield Wish(event, "waiting", f"for generation {last + 1}")
