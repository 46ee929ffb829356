"""The line of a champion's file that says for which researcher it was evolved.

``<!-- metaloop: evolved for chat with gpt-4o-mini -->`` is no part of the program: parsing takes it off, so ids,
directives and prompts are the same with and without it, and it goes wherever the file is copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from programs.common.text import newline_of

_LABEL = re.compile(
    rb"(?<![^\r\n])<!-- metaloop: evolved for ([\w.:\-]{1,60})(?: with ([^<>;\r\n]{1,400}))?"
    rb"(?:; rewritten for ([\w.:\-]{1,60}))? -->[ \t]*(?![^\r\n])"
)
_UNSAFE = re.compile(r"[^\w.:/@+\-]+")
KINDS = ("scripted", "chat", "agent")  # as `metaloop export --for` calls them
AGENT = "command"  # before the name of a researcher that is a coding agent


@dataclass(frozen=True)
class EvolvedFor:
    """``researcher`` as `--researcher` names it; ``rewritten``: one of KINDS, for which `metaloop export` rewrote the
    program; empty if it did not."""

    researcher: str
    models: tuple[str, ...] = ()
    rewritten: str = ""

    @classmethod
    def of(cls, researcher: str, models: Sequence[str]) -> EvolvedFor:
        """That of a study; the models of one with the scripted researcher only write programs."""
        return cls(researcher, () if researcher == "scripted" else tuple(models))

    @property
    def kind(self) -> str:
        """One of KINDS; another word for a researcher that a package adds."""
        kind = self.researcher.partition(":")[0]
        return "agent" if kind == AGENT else kind

    def __str__(self) -> str:
        """For a sentence: ``chat with gpt-4o-mini``."""
        names = f" with {', '.join(self.models)}" if self.models else ""
        agent = self.researcher.partition(":")[2] or self.researcher
        return {"scripted": "the scripted researcher", "agent": f"the agent {agent}"}.get(self.kind, agent) + names

    def rewritten_for(self, kind: str) -> EvolvedFor:
        return replace(self, rewritten="" if kind == self.kind else kind)

    def remark(self, name: str, other: EvolvedFor) -> str:
        """What a user has to know who lets another researcher follow it; empty if there is nothing."""
        if self.rewritten == other.kind:
            return f"{name} was evolved for {self} and rewritten: its gain with {other} has not been measured"
        if self.kind != other.kind:
            cure = f"metaloop export FILE --for {other.kind} rewrites it, or says why it cannot"
            return f"{name} was evolved for {self}, not for {other}, where it may be no better than stock; {cure}"
        same = self.researcher == other.researcher and (not self.models or set(other.models) & set(self.models))
        return "" if same else f"{name} was evolved for {self}: its gain with {other} has not been measured"

    def _line(self) -> str:
        researcher, *models = filter(None, (_UNSAFE.sub("-", name) for name in (self.researcher, *self.models)))
        names = f" with {', '.join(models)}" if models else ""
        rewritten = f"; rewritten for {self.rewritten}" if self.rewritten else ""
        return f"<!-- metaloop: evolved for {researcher}{names}{rewritten} -->"


def with_label(raw: bytes, label: EvolvedFor | None) -> bytes:
    """The bytes of an entry file with the line at its end; `without_label` gives the same bytes back."""
    if label is None:
        return raw
    newline = newline_of(raw.decode("utf-8")).encode()
    return raw + newline + label._line().encode() + newline


def without_label(raw: bytes) -> tuple[bytes, EvolvedFor | None]:
    """(the bytes without the line, what it says). In the middle of a file that was continued an empty line is left, so
    that the numbers of the lines stay."""
    match = _LABEL.search(raw) if b"<!-- metaloop: evolved for " in raw else None
    if match is None:
        return raw, None
    researcher, models, rewritten = ((part or b"").decode("utf-8", "replace") for part in match.groups())
    names = tuple(name.strip() for name in models.split(",") if name.strip())
    before, after = raw[: match.start()], raw[match.end() :]
    if not after.strip():  # the end of the line before is that of `with_label`
        before, after = re.sub(rb"(?:\r\n|\n|\r)\Z", b"", before), b""
    return before + after, EvolvedFor(researcher, names, rewritten)
