"""The programs of a study as a git repository, written from its ledger."""

from __future__ import annotations

import shutil
from datetime import datetime
from io import BytesIO

from git import Actor, Commit, IndexFile, Repo
from git.index.typ import BaseIndexEntry
from gitdb import IStream  # type: ignore[import-untyped]

from arena.study.study import Study
from meta.kinds.plans import starters_of
from programs.program import Program

AUTHOR = Actor("metaloop", "metaloop@localhost")


def write_programs_git(study: Study, champion_id: str) -> None:
    """Write the bare repository ``programs.git``: one commit per program, whose parents are its parent programs, with
    a branch of the program's id; ``main`` is the champion.

    Every commit has the date of the study's creation, so the same programs give the same commits.
    """
    folder, partial = study.folder / "programs.git", study.folder / "programs.git.partial"
    shutil.rmtree(partial, ignore_errors=True)
    date = f"{int(datetime.fromisoformat(study.config.created_at).timestamp())} +0000"
    reasons, commits = reasons_of(study), dict[str, Commit]()
    with Repo.init(partial, bare=True, mkdir=True, initial_branch="main") as repo:
        for program_id, row in study.state.programs.items():
            program = study.program(program_id)
            message = f"{row.name}: {reasons[program_id]}\n\nProgram: {program_id}\nOperator: {row.operator}\n"
            parents = [commits[parent_id] for parent_id in row.parent_ids if parent_id in commits]
            commits[program_id] = Commit.create_from_tree(
                repo, tree_of(repo, program), message, parents,
                author=AUTHOR, committer=AUTHOR, author_date=date, commit_date=date,
            )  # fmt: skip
    for branch, commit in {**commits, "main": commits[champion_id]}.items():
        (partial / "refs" / "heads" / branch).write_text(f"{commit.hexsha}\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def tree_of(repo: Repo, program: Program) -> str:
    """The id of the tree with all files of a program."""
    index = IndexFile(repo)
    for path, content in (*program.files, *program.living):
        blob = repo.odb.store(IStream("blob", len(content), BytesIO(content)))
        index.add([BaseIndexEntry((0o100644, blob.binsha, 0, path))], write=False)
    return index.write_tree()


def reasons_of(study: Study) -> dict[str, str]:
    """Why each program was admitted, by its id: the reason of its writer, else the match or the night that it is for,
    else how the study began with it."""
    state, starters = study.state, [program.program_id for program in starters_of(study.config)]
    reasons = dict.fromkeys(state.programs, "for the next night")
    finals = [match for match in state.matches.values() if match.purpose in ("confirmation", "reserve")]
    reasons |= {arm.program_id: match.label for match in reversed(finals) for arm in match.arms}
    reasons |= {program_id: state.programs[program_id].operator for program_id in starters}
    return reasons | {m.child_id: m.reason for m in state.attempts if m.accepted and m.child_id}
