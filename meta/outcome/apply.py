"""Writes what a study found into the repository of its task, as a branch: the program and the train.py. Nothing of the
working tree, its index or the current branch changes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analysis.found_scripts import found_script, script_digits, script_sentence
from analysis.ledger.events import HarvestEvent
from analysis.study import read_study
from analysis.verdict.decision import Decision, FoundScript, decision_of
from analysis.verdict.verdict import VIEWS, verdict_of
from analysis.wording import brief, number, plain_text
from arena.after.harvest import HARVEST
from arena.after.replay import commits_of
from arena.study.study import Study
from meta.outcome.agent_text import for_agents, with_code_changes
from meta.outcome.evidence_page import training_cost
from meta.outcome.rewriting import edit_of
from programs.common.errors import Corrupt, NotFound, UsageError
from programs.common.safe_git import BorrowedRepository, repository_above
from programs.common.text import listed
from programs.edit import state_settings
from programs.folder import entry_of
from programs.program import Program
from trainer.source import Source
from trainer.task import Task

Step = tuple[Mapping[str, bytes], str]  # files and message of a commit
ALL_THE_SAME = "--set data_noise=unknown"


@dataclass(frozen=True)
class Applied:
    """The branch, its files by what they hold, and why something was left out."""

    repository: Path
    branch: str
    files: Mapping[str, str]
    left_out: tuple[str, ...]


class NothingToApply(UsageError):
    """A result too: neither the program nor the train.py is shown to be better."""


def apply(study: Study, origin: str | None, path: str | None, unknown_noise: bool = False) -> Applied:
    """Commit the champion and the best train.py, each if it is shown to be better, on a branch ``metaloop/STUDY`` of
    the task's repository, on top of HEAD. ``origin``: the id of the user's program, and ``path`` its file, in a study
    that improves one. ``unknown_noise``: also a train.py with a gain where it is not known whether that holds on other
    data.

    Raises NotFound before the study has a champion, UsageError where the task is in no repository, NothingToApply where
    there is nothing to commit.
    """
    event, task, name = study.state.champion, study.task, study.folder.name
    if event is None:
        hint = f"finish it first: metaloop resume {shlex.quote(str(study.folder))}"
        raise NotFound(f"{study.folder} has no champion yet", hint=hint)
    decision, champion = decision_of(event.body), study.program(str(event.body["program_id"]))
    with read_study(study.folder, views=VIEWS) as con:
        verdict = verdict_of(con)
    files, left_out, title, steps = dict[str, tuple[str, bytes]](), list[str](), "", list[Step]()
    with repository_of(task) as (root, repository):
        if decision.has_new_program:
            before = study.program(origin) if origin else None
            files |= program_files(task, champion, before, program_path(task, path, root))
            texts = [plain_text(verdict.text)]
        else:
            why = "acts like yours" if decision.holds else "did not gain significantly more"
            left_out.append(f"the new program, because it {why}")
            texts = [plain_text(warning) for warning in verdict.warnings]
        inside = task_home(task).relative_to(root)
        source, best = read_head_source(repository, inside, task), study.state.harvests.get((task.name, HARVEST))
        if best and (why := why_left_out(study, best, decision, source, unknown_noise)):
            left_out.append(f"the best train.py, because {why}")
        elif best:
            files |= {file: (str(inside / file), text.encode()) for file, text in best.files}
            texts.insert(0, describe_script(study, best, source))
            title = metric_change(found_script(task, best))
            steps = kept_steps(study, best, source, inside)
        if not files:
            raise NothingToApply(
                f"nothing of this study is good enough to apply: {'; '.join(left_out)}",
                hint=f"see {study.folder / 'champion.evidence.md'}",
            )
        message = "\n\n".join((f"metaloop: {' and '.join(files)}{title} of study {name}", *texts)) + "\n"
        branch = commit_branch(repository, f"metaloop/{name}", dict(files.values()), message, steps)
        return Applied(root, branch, {what: file for what, (file, _) in files.items()}, tuple(left_out))


def kept_steps(study: Study, best: HarvestEvent, source: Source, inside: Path) -> list[Step]:
    """The kept changes that led to the best train.py, oldest first, without the last one: a commit each, so that a
    reviewer can take some of them. None where no run has that script, or where they do not lead from ``source`` to
    it."""
    owners = (
        run_id for run_id, run in study.state.runs.items()
        if best.source_id in {experiment.source_id for experiment in run.experiments.values()}
    )  # fmt: skip
    run_id = next(owners, None)
    if run_id is None:
        return []
    try:
        commits = commits_of(study, run_id, best.source_id, source)
    except (UsageError, Corrupt):
        return []
    decisions, steps = study.state.run(run_id).decisions, list[Step]()
    for commit in commits[:-1]:
        decision, message = decisions.get(commit.experiment_id), f"metaloop: {commit.label}\n"
        if decision and decision.gain is not None:
            error = "unknown" if decision.gain_se is None else brief(decision.gain_se)
            message += f"\nIn the search, {study.task.metric} was better by {brief(decision.gain)}"
            message += f" (standard error {error}).\n"
        steps.append(({str(inside / name): text.encode() for name, text in commit.after.files}, plain_text(message)))
    return steps


def describe_script(study: Study, best: HarvestEvent, source: Source) -> str:
    """What the commit of the best train.py gains, how that was measured, what it costs, and its edits of ``source``."""
    edit, is_all = edit_of(study.task, source, best)
    edits = [edit.label()] if edit else []
    if not is_all:
        edits.append("changes of the code")
    names = listed([name for name, _ in best.files])
    lines = (
        plain_text(script_sentence(found_script(study.task, best), names, "the untouched one")),
        f"Scores: {best.trust}." if best.trust else "",
        training_cost(study.state, study.task.name),
        f"Edits: {listed(edits)}",
    )
    return "\n".join(filter(None, lines))


def metric_change(script: FoundScript) -> str:
    """`` (val_err 0.24 → 0.22)``: the metric of the untouched script and of this one; empty if it is not recorded."""
    if script.start is None or script.end is None:
        return ""
    digits = script_digits(script)
    return plain_text(f" ({script.metric} {number(script.start, digits)} → {number(script.end, digits)})")


def why_left_out(study: Study, best: HarvestEvent, decision: Decision, source: Source, unknown_noise: bool) -> str:
    """Why the best train.py is not committed on ``source``; empty where it is. ``unknown_noise``: see `apply`."""
    task, before = study.task, study.config.from_study
    script = found_script(task, best)
    if script.new_seed:
        return "its only change is a seed"
    if not script.is_better and not (script.has_unknown_noise and (script.gain or 0.0) > 0):
        return "its gain is not shown to be above zero"
    if not script.is_better and not unknown_noise:
        return f"it is not known whether its gain holds on other data ({ALL_THE_SAME} commits it)"
    if decision.added_nothing and before:
        return f"this night added nothing to main of {before.folder}"
    changed = [name for name, text in task.baseline().files if source.text(name) != text] if task.repository else []
    return f"{changed[0]} has changed there since the task was copied" if changed else ""


def task_home(task: Task) -> Path:
    """The folder that a task is about: its own, or the one that it was copied from."""
    return Path(task.repository or task.folder).resolve()


def read_head_source(repository: BorrowedRepository, inside: Path, task: Task) -> Source:
    """The editable files in the last commit, on top of which the branch is made; one that it lacks as in the task."""
    source = task.baseline()
    for name, _ in source.files:
        content = repository.file(repository.head, (inside / name).as_posix())
        if content is not None:
            source = source.with_text(name, content.decode("utf-8", "replace"))
    return source


@contextmanager
def repository_of(task: Task) -> Iterator[tuple[Path, BorrowedRepository]]:
    """The work tree of a task, and its repository. Raises UsageError where it has none with a commit, or Corrupt."""
    home = task_home(task)
    root = repository_above(home)
    if root is not None and (root / ".git").exists():
        with BorrowedRepository.open(root, follow=True) as repository:
            if repository.head:
                yield root, repository
                return
    raise UsageError(
        f"{home} is in no git repository with a commit and a work tree, so there is nowhere to make a branch",
        hint="use champion.md and best_train.py in the study's folder",
    )


def program_files(task: Task, program: Program, before: Program | None, entry: str) -> dict[str, tuple[str, bytes]]:
    """The entry file, and the files beside it that are not as in the user's program ``before``: what → (path, text)."""
    text = with_code_changes(for_agents(program.text, task), task)
    files = {"program": (entry, state_settings(text).encode())}
    for name, text in program.further.items():
        if before is None or before.further.get(name) != text:
            path = str(Path(entry).parent / name)
            files[path] = path, for_agents(text, task).encode()
    return files


def program_path(task: Task, path: str | None, root: Path) -> str:
    """Where the user's program lies in the repository; its name at the root if it lies elsewhere."""
    file = Path(path or "program.md")
    file = entry_of(file) if file.is_dir() else file
    copy = task.folder.resolve()
    file = task_home(task) / file.relative_to(copy) if file.is_relative_to(copy) else file
    return str(file.relative_to(root)) if file.is_absolute() and file.is_relative_to(root) else file.name


def commit_branch(
    repository: BorrowedRepository, branch: str, files: Mapping[str, bytes], message: str, steps: Sequence[Step] = ()
) -> str:
    """The name of the branch with these files on top of HEAD, after a commit for each of ``steps``; one that is there
    with other content is not changed."""
    tree, name, number = repository.write_tree(files, repository.head), branch, 1
    while (present := repository.resolve(f"refs/heads/{name}^{{tree}}")) not in ("", tree):
        number += 1
        name = f"{branch}-{number}"
    if not present:
        commit = repository.head
        for changed, text in steps:
            commit = repository.write_commit(
                repository.write_tree(changed, commit), commit, text, repository.identity()
            )
        commit = repository.write_commit(tree, commit, message, repository.identity())
        repository.git("update-ref", f"refs/heads/{name}", commit, "")  # which must not be there
    return name
