"""Edits as a model writes them: search/replace blocks or whole files, parsed and applied exactly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inner_loop.chat.quoting import line
from programs.common.bounded import handling_text
from programs.patches import BadBlock, Block, blocks_of
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source

TITLE, NOTE, IDEA, RATIONALE, IDEAS = 120, 500, 240, 2000, 3  # characters of each, and ideas of one reply
_OPEN = r'^[ \t]*<(edit|file) (?:file|name)="([^"\n]{1,200})">[ \t]*$'
_CHANGE = re.compile(rf"(?ms){_OPEN}\n(.*?)^[ \t]*</\1>[ \t]*$")


class BadEdit(Exception):
    """A reply that cannot be applied. The message is for its author."""


@dataclass(frozen=True)
class EditReply:
    """A parsed reply. ``changes``: of a file each, as blocks of (search, replacement) or its whole new text.
    ``follows`` and ``ideas`` are the model's own statements: data of limited size. ``passed``: why its author has
    nothing to try; then there are no changes. ``dropped``: labels of ideas in the queue."""

    changes: tuple[tuple[str, tuple[Block, ...] | str], ...]
    title: str
    rationale: str
    follows: tuple[str, ...]
    note: str
    ideas: tuple[str, ...]
    passed: str
    dropped: tuple[str, ...]

    @handling_text(BadEdit)
    def apply(self, source: Source, seen: Source | None = None) -> Source:
        """The edited source. ``seen``: the one that its author saw, if it is another. Raises BadEdit for another file,
        a whole file that was changed since, a search text that does not occur exactly once, no change, or a source that
        is too large."""
        edited = source
        for name, change in self.changes:
            texts = dict(edited.files)
            if name not in texts:
                raise BadEdit(f"{name} is not editable; these files are: {', '.join(texts)}.")
            if not isinstance(change, str):
                for old, new in change:
                    texts[name] = _replaced(texts[name], old, new, name)
            elif seen and seen.text(name) != source.text(name):
                raise BadEdit(f"{name} has changed since you saw it, so it cannot be replaced as a whole.")
            else:
                texts[name] = change
            edited = edited.with_text(name, texts[name])
        if edited == source:
            raise BadEdit("The edit changes nothing. A reply cannot have a source measured again.")
        size = sum(len(text.encode()) for _, text in edited.files)
        if size > SOURCE_BYTES:
            raise BadEdit(f"The edited source has {size} bytes; the limit for all files together is {SOURCE_BYTES}.")
        return edited


@handling_text(BadEdit)
def parse(reply: str) -> EditReply:
    """Parse a reply. Raises BadEdit if it has no edit or a malformed one, and does not pass either. An edit beside a
    <pass> counts. Text inside an edit is source and nothing else."""
    text = reply.replace("\r\n", "\n")
    changes = [_change(*match.groups()) for match in _CHANGE.finditer(text)]
    rest = _CHANGE.sub("", text)
    if cut := re.search(_OPEN, rest, re.MULTILINE):
        raise BadEdit(f"A <{cut[1]} …> has no </{cut[1]}> on a line of its own; the reply may have been cut off.")
    passed = "" if changes else line(_between(rest, "pass"), IDEA)
    if not changes and not passed:
        empty = "A <pass> needs its reason. " if "<pass>" in rest else ""
        raise BadEdit(f"{empty}The reply contains no <edit file=…> and no <file name=…>.")
    rationale, follows = _between(rest, "rationale"), re.findall(r"\b[dq]\d{1,5}\b", _between(rest, "follows"))
    ideas = [line(idea, IDEA) for idea in _all_between(rest, "idea")]
    return EditReply(
        changes=tuple(changes),
        title=line(_between(rest, "title"), TITLE) or line(rationale, TITLE),
        rationale=rationale.strip()[:RATIONALE],
        follows=tuple(dict.fromkeys(follows))[:20],
        note=line(_between(rest, "note"), NOTE),
        ideas=tuple(filter(None, ideas))[:IDEAS],
        passed=passed,
        dropped=tuple(re.findall(r"\bq\d{1,5}\b", _between(rest, "drop")))[:20],
    )


def _between(text: str, tag: str) -> str:
    return next(_all_between(text, tag), "")


def _all_between(text: str, tag: str) -> Iterator[str]:
    while (parts := text.partition(f"<{tag}>")[2].partition(f"</{tag}>"))[1]:
        yield parts[0]
        text = parts[2]


def _change(kind: str, name: str, inside: str) -> tuple[str, tuple[Block, ...] | str]:
    try:
        return name, inside if kind == "file" else blocks_of(inside.removesuffix("\n"))
    except BadBlock as bad:
        hint = f'; use <file name="{name}"> to write the whole file' if "empty" in str(bad) else ""
        raise BadEdit(f"{name}: {bad}{hint}.") from None


def _replaced(text: str, old: str, new: str, name: str) -> str:
    """Whole lines only: a search text that is part of a line matches nothing. A block that was carried out already
    changes nothing."""
    starts = _starts(text, old)
    if not starts and new.strip() and len(_starts(text, new)) == 1:
        return text
    if len(starts) != 1:
        raise BadEdit(
            f"{name}: the search text that starts with {line(old, 80)!r} occurs {len(starts)} times as whole lines; it "
            "must occur exactly once. Copy enough lines exactly, including their indent."
        )
    start, end = starts[0], starts[0] + len(old)
    if not new:  # lines taken out go with their line end
        return text[:start] + text[end:].removeprefix("\n")
    return text[:start] + new + text[end:]


def _starts(text: str, lines: str) -> list[int]:
    """Where these whole lines begin in a text."""
    return [match.start() for match in re.finditer(rf"(?m)^(?={re.escape(lines)}$)", text)]
