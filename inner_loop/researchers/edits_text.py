"""Edits as a model writes them: search/replace blocks or whole files, parsed and applied exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from inner_loop.researchers.quoting import line
from programs.patches import BadBlock, blocks_of
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source

TITLE, NOTE, IDEA, RATIONALE, IDEAS = 120, 500, 240, 2000, 3  # characters of each, and ideas of one reply
_OPEN = re.compile(r'<(edit|file) (?:file|name)="([^"\n]{1,200})">')


class BadEdit(Exception):
    """A reply that cannot be applied. The message is for its author."""


@dataclass(frozen=True)
class FileChange:
    """The change of one file: ``blocks`` of (search, replacement), or ``whole``, its new text."""

    file: str
    blocks: tuple[tuple[str, str], ...] = ()
    whole: str | None = None


@dataclass(frozen=True)
class EditReply:
    """A parsed reply. ``follows`` and ``ideas`` are the model's own statements: data of limited size.

    ``passed``: why its author has nothing to try; then there are no changes. ``dropped``: labels of ideas in the queue.
    """

    changes: tuple[FileChange, ...]
    title: str = ""
    rationale: str = ""
    follows: tuple[str, ...] = ()
    note: str = ""
    ideas: tuple[str, ...] = field(default=())
    passed: str = ""
    dropped: tuple[str, ...] = ()

    def apply(self, source: Source) -> Source:
        """The edited source. Raises BadEdit for another file, a search text that does not occur exactly once, no
        change, or a source that is too large."""
        edited = source
        for change in self.changes:
            edited = _changed(edited, change)
        if edited == source:
            raise BadEdit("The edit changes nothing. A reply cannot have a source measured again.")
        size = sum(len(text.encode()) for _, text in edited.files)
        if size > SOURCE_BYTES:
            raise BadEdit(f"The edited source has {size} bytes; the limit for all files together is {SOURCE_BYTES}.")
        return edited


def parse(reply: str) -> EditReply:
    """Parse a reply. Raises BadEdit if it has no edit or a malformed one, and does not pass either. An edit beside a
    <pass> counts."""
    changes, rest = _changes(reply.replace("\r\n", "\n").split("\n"))
    passed = "" if changes else line(_between(rest, "pass"), IDEA)
    if not changes and not passed:
        empty = "<pass>" in rest and "A <pass> needs its reason. "
        raise BadEdit(f"{empty or ''}The reply contains no <edit file=…> and no <file name=…>.")
    title = line(_between(rest, "title"), TITLE) or line(_between(rest, "rationale"), TITLE)
    follows = re.findall(r"\b[dq]\d{1,5}\b", _between(rest, "follows"))
    ideas = [line(text, IDEA) for text in re.findall(r"<idea>(.*?)</idea>", rest, re.DOTALL)]
    return EditReply(
        tuple(changes),
        title,
        _between(rest, "rationale").strip()[:RATIONALE],
        tuple(dict.fromkeys(follows))[:20],
        line(_between(rest, "note"), NOTE),
        tuple(idea for idea in ideas if idea)[:IDEAS],
        passed,
        tuple(re.findall(r"\bq\d{1,5}\b", _between(rest, "drop")))[:20],
    )


def _between(text: str, tag: str) -> str:
    match = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return match[1] if match else ""


def _changes(lines: list[str]) -> tuple[list[FileChange], str]:
    """The changes of a reply, and its other lines: text inside an edit is source and nothing else."""
    changes: list[FileChange] = []
    rest: list[str] = []
    at = 0
    while at < len(lines):
        opened = _OPEN.fullmatch(lines[at].strip())
        if opened is None:
            rest.append(lines[at])
            at += 1
            continue
        kind, name = opened.groups()
        end = _end(lines, at + 1, kind)
        inside = lines[at + 1 : end]
        if kind == "file":
            changes.append(FileChange(name, whole="\n".join([*inside, ""]) if inside else ""))
        else:
            changes.append(FileChange(name, tuple(_blocks(inside, name))))
        at = end + 1
    return changes, "\n".join(rest)


def _end(lines: list[str], start: int, kind: str) -> int:
    for at in range(start, len(lines)):
        if lines[at].strip() == f"</{kind}>":
            return at
    raise BadEdit(f"A <{kind} …> has no </{kind}> on a line of its own; the reply may have been cut off.")


def _blocks(lines: list[str], name: str) -> list[tuple[str, str]]:
    try:
        return list(blocks_of(lines))
    except BadBlock as bad:
        hint = f'; use <file name="{name}"> to write the whole file' if "empty" in str(bad) else ""
        raise BadEdit(f"{name}: {bad}{hint}.") from None


def _changed(source: Source, change: FileChange) -> Source:
    texts = dict(source.files)
    if change.file not in texts:
        raise BadEdit(f"{change.file} is not editable; these files are: {', '.join(texts)}.")
    if change.whole is not None:
        return source.with_text(change.file, change.whole)
    text = texts[change.file]
    for old, new in change.blocks:
        text = _replaced(text, old, new, change.file)
    return source.with_text(change.file, text)


def _replaced(text: str, old: str, new: str, name: str) -> str:
    """Whole lines only: a search text that is part of a line matches nothing. A block that was carried out already
    changes nothing."""
    starts = _starts(text, old)
    if not starts and new.strip() and len(_starts(text, new)) == 1:
        return text
    if len(starts) != 1:
        first = line(old, 80)
        raise BadEdit(
            f"{name}: the search text that starts with {first!r} occurs {len(starts)} times as whole lines; it must "
            "occur exactly once. Copy enough lines exactly, including their indent."
        )
    start, end = starts[0], starts[0] + len(old)
    if not new:  # lines taken out go with their line end
        return text[:start] + text[end:].removeprefix("\n")
    return text[:start] + new + text[end:]


def _starts(text: str, lines: str) -> list[int]:
    """Where these whole lines begin in a text."""
    return [match.start() for match in re.finditer(rf"(?m)^(?={re.escape(lines)}$)", text)]
