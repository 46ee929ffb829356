"""The operators: what each requests, when it can change what this researcher does, and how its child must relate to its
parent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from meta.mutators.llm.assemble import CHARTER, anything, merged, only_added, only_deleted, section_names, shorter
from meta.mutators.llm.reply import BadReply, MutationReply
from meta.mutators.offline.change_field import without_statement
from meta.mutators.offline.cross_sections import chapters
from meta.novelty import Novelty
from programs.errors import ProgramError
from programs.lint import check
from programs.program import Program
from programs.structure import PATH

if TYPE_CHECKING:
    import numpy as np

IDEAS = "Ideas"
PROSE = 0.2  # share of a program's words outside charter and ideas, from which it can be shortened by a tenth


@dataclass(frozen=True)
class Job:
    """What is asked for: the sections that may change, one or several of them; none if the reply is a whole program."""

    sections: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProgramReader:
    """What the researcher of a study reads, and what its programs have done so far."""

    novelty: Novelty

    @property
    def scripted(self) -> bool:
        return self.novelty.researcher == "scripted"

    def reads_ideas(self, program: Program) -> bool:
        """Whether the scripted researcher carries out the ideas of a program: only in a phase with the queue."""
        return any("queue" in charter.proposers for _, charter in program.charter.by_phase())

    def has_edits(self) -> bool:
        return any(task.edits.knobs for task in self.novelty.tasks)

    def ideas_of(self, program: Program) -> str:
        """The section with the ideas; the name of a new one where there are none."""
        return next((d.heading for d in program.directives if d.kind == "idea"), IDEAS)

    def is_new(self, program: Program, parents: Sequence[Program]) -> bool:
        """Whether no program of the study behaves like it."""
        behaviour = self.novelty.behaviour(program)
        return behaviour not in self.novelty.seen and all(behaviour != self.novelty.behaviour(p) for p in parents)

    def would_pass(self, child: Program, parents: Sequence[Program]) -> bool:
        """`is_new`, without a warning that no parent has: `queue` without an idea is refused."""
        before = {message for parent in parents for message in problems(parent.document)}
        return self.is_new(child, parents) and before.issuperset(problems(child.document))


def problems(text: str, unread: Callable[[str], str] | None = None) -> list[str]:
    """Errors and warnings of a text as lines without their numbers."""
    return [
        f"{m.file}: {m.message}" if m.file else m.message
        for m in check(text, "child", unread)
        if m.level in ("error", "warning")
    ]


Offer = Callable[[ProgramReader, Sequence[Program], "np.random.Generator"], Job | None]


def _rewritten(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    """One section; of a scripted researcher's program the charter, the ideas or both. Ideas that the charter does not
    use are rewritten together with it."""
    program = parents[0]
    if not reader.scripted:
        names = section_names(program)
        return Job((names[int(rng.integers(len(names)))],))
    if not reader.has_edits():
        return Job((CHARTER,))
    both = (CHARTER, reader.ideas_of(program))
    choices = [(CHARTER,), both[1:], both] if reader.reads_ideas(program) else [(CHARTER,), both]
    return Job(choices[int(rng.integers(len(choices)))])


def _extended(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    if not reader.scripted:
        return Job(tuple(section_names(parents[0])))
    return Job((CHARTER, reader.ideas_of(parents[0])) if reader.has_edits() else (CHARTER,))


def _deletable(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    """The sections from which something can be deleted so that the researcher does something new."""
    program = parents[0]
    if not reader.scripted:
        return Job(tuple(section_names(program))) if len(program.directives) > 1 else None
    names: dict[str, None] = {}
    for directive in program.directives:
        name = CHARTER if directive.kind == "charter" else directive.heading
        if directive.kind not in ("charter", "idea") or name in names:
            continue
        try:
            child = program.with_text(without_statement(program, directive))
        except ProgramError:
            continue
        if reader.would_pass(child, parents):
            names[name] = None
    return Job(tuple(names)) if names else None


def _joinable(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    """Whether some choice of sections behaves like neither parent. A scripted researcher reads only charter and
    ideas."""
    first, second = parents[:2]
    names = [CHARTER]
    if reader.scripted:
        names += dict.fromkeys(d.heading.split(PATH)[0] for p in parents[:2] for d in p.directives if d.kind == "idea")
    else:
        names += dict.fromkeys(filter(None, [*chapters(first.text), *chapters(second.text)]))
    for count in (1, 2) if reader.scripted else (1,):
        for chosen in combinations(names, count):
            lines = "\n".join(f"{name}: 2" for name in chosen)
            try:
                child = first.with_text(merged(first, second, MutationReply("", (), "", lines)))
            except (BadReply, ProgramError):
                continue
            if reader.would_pass(child, parents[:2]):
                return Job()
    return None


def _shortened(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    """Where a tenth of the words can go while charter and ideas stay."""
    program = parents[0]
    if reader.scripted:
        return None
    prose = sum(len(d.text.split()) for d in program.directives if d.kind not in ("charter", "idea", "order"))
    return Job() if prose >= PROSE * program.words else None


def _whole(reader: ProgramReader, parents: Sequence[Program], rng: np.random.Generator) -> Job | None:
    return Job()


@dataclass(frozen=True)
class Kind:
    """``check`` (first parent, child) returns the problem. ``offer``: the job for these parents; None where nothing
    that it allows changes what the researcher does."""

    name: str
    payload: str  # program, section, merge
    offer: Offer
    parents: int = 1
    check: Callable[[Program, Program], str] = anything


KINDS = (
    Kind("rewrite", "section", _rewritten),
    Kind("add", "section", _extended, check=only_added),
    Kind("delete", "section", _deletable, check=only_deleted),
    Kind("merge", "merge", _joinable, parents=2),
    Kind("distil", "program", _shortened, check=shorter),
    Kind("bold", "program", _whole),
)


def kind(name: str) -> Kind:
    return next(k for k in KINDS if k.name == name)


def offered(researcher: str) -> tuple[Kind, ...]:
    """The kinds that are ever possible for a researcher: nothing that a script reads is shorter in other words."""
    return tuple(k for k in KINDS if researcher != "scripted" or k.name != "distil")
