"""Checks a program for mistakes before it runs."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from programs.charter import Charter, Phase
from programs.charter_edit import settings_of
from programs.errors import ProgramError
from programs.file_set import is_about_repository, references, resolved
from programs.front_matter import OUR_KEY, locate
from programs.ideas import split
from programs.patches import ProgramPatch, named_in
from programs.program import Program
from programs.roles import addressee, roles
from programs.structure import PATH, Outline, in_ideas, outline
from programs.text import one_line, split_lines

if TYPE_CHECKING:
    from pydantic import JsonValue

Level = Literal["error", "warning", "info"]
LONG = 2_000  # words
_MOST_MESSAGE = 300  # characters of a message, which quotes the program
_PLACEHOLDER = re.compile(r"\{\{[^{}\n]+\}\}|(?<![\w$`{])\{[a-zA-Z_]\w*\}|\$\{\w+\}")
_NEARLY_OURS = re.compile(r"^[\"']?meta[-_ ]?loop[\"']?[ \t]*:", re.IGNORECASE)
_NEARLY_IDEAS = re.compile(r"\W*(?:(?:my|our|the|some) )?ideas?(?: to try)?\W*", re.IGNORECASE)
_KEY = re.compile(r"^[\"']?([A-Za-z][\w-]{3,15})[\"']?[ \t]*:(?=[ \t\r\n]|$)")
_OTHERS = {"version", "history", "branch"}  # settings that other tools have; then those that they may have
_COMMON = _OTHERS | {"focus", "phases", "screen", "confirm"}
UNMARKED = "charter-unmarked"
_OF_SETTINGS = {"ideas-not-queued"}  # codes of messages that are wrong where the settings cannot be read
_DASHES = re.compile(r"^([-\u2010-\u2015\u2212]+)[ \t]*\r?\n?$")  # phones make one dash of two or three hyphens


@dataclass(frozen=True)
class LintMessage:
    line: int  # from 1
    level: Level
    code: str
    message: str
    file: str = ""  # of the program; empty: its entry file

    def record(self) -> dict[str, JsonValue]:
        """As JSON; without ``file`` for the entry file."""
        return {key: value for key, value in asdict(self).items() if key != "file" or value}

    def at(self, file: str) -> str:
        """One line for people and editors: ``program.md:7: warning: … [code]``; ``file``: the entry file."""
        return f"{self.file or file}:{self.line}: {self.level}: {self.message} [{self.code}]"


def lint(
    program: Program,
    unread: Callable[[str], str] | None = None,
    doubt_screen: Callable[[Charter], str] | None = None,
    misfit: Callable[[ProgramPatch], str] | None = None,
) -> list[LintMessage]:
    """Messages by file, in the order of their lines. ``unread(term)``: why the task cannot read it, empty if it can;
    ``doubt_screen(charter)``: why its screening does not pay on the task, or an empty string; ``misfit(patch)``: why a
    patch does not fit the task's script."""
    parsed = outline(program.text)
    checks = (
        _charter(program),
        _screens(program, doubt_screen) if doubt_screen else (),
        _ideas(program, unread),
        _patches(program, misfit),
        _roles(program),
        _repeated(program),
        _headings(parsed),
        _text(parsed),
        _whole(program, parsed),
        _misplaced(parsed),
        _links(program, program.text, ""),
        *(_further(program, path, raw.decode("utf-8")) for path, raw in program.files[1:]),
        _living(program),
    )
    return sorted((_printable(m) for check in checks for m in check), key=lambda m: (m.file, m.line, m.code))


def check(
    raw: str | bytes,
    file: str,
    unread: Callable[[str], str] | None = None,
    doubt_screen: Callable[[Charter], str] | None = None,
    misfit: Callable[[ProgramPatch], str] | None = None,
) -> list[LintMessage]:
    """Like ``lint``, for any text: one that is not a valid program gives also an error for each bad setting. What
    depends on the settings is said once they can be read."""
    program, errors = readable(raw, file)
    said = lint(program, unread, doubt_screen, misfit) if program else []
    kept = (m for m in said if not errors or m.code not in _OF_SETTINGS)
    return sorted([*errors, *kept], key=lambda m: (m.file, m.line))


def readable(raw: str | bytes, file: str) -> tuple[Program | None, list[LintMessage]]:
    """The program, and why it is not valid: an error for each bad setting. Then it is read without its settings, with
    the same lines; None where that is not possible either."""
    try:
        return Program.parse(raw, file), []
    except ProgramError as error:
        said = re.match(r"(?:(.*?):)?(\d+): (.*)", error.message.removeprefix(f"{file}:"), re.DOTALL)
        where, line, message = said.groups() if said else ("", 1, error.message)
        message, *others = re.split(r"; line (\d{1,9}): ", message)
        each = [(line, message), *zip(others[::2], others[1::2], strict=True)]
        errors = [_printable(LintMessage(int(at), "error", "unreadable", said, where or "")) for at, said in each]
    try:
        return Program.parse(_without_settings(raw if isinstance(raw, str) else raw.decode("utf-8")), file), errors
    except (ProgramError, UnicodeDecodeError):
        return None, errors


def _without_settings(text: str) -> str:
    """The text with empty lines in place of the settings; of the whole front matter where they cannot be located.
    That ends with a line of dashes, or before the first empty line."""
    lines = split_lines(text)
    try:
        start, end = locate(lines).block or (0, 0)
    except ProgramError:
        ends = [i for i, line in enumerate(lines) if i and line.strip() in ("---", "...", "")]
        start, end = 0, next((i + 1 for i in ends if lines[i].strip()), ends[0] if ends else len(lines))
    lines[start:end] = ["metaloop:\n" if start and i == start else "\n" for i in range(start, end)]
    return "".join(lines)


def _printable(message: LintMessage) -> LintMessage:
    """The message as one printable line of limited length: it quotes text of unknown origin."""
    said = one_line(message.message)
    return replace(message, message=said if len(said) <= _MOST_MESSAGE else said[: _MOST_MESSAGE - 1] + "…")


def _charter(program: Program) -> Iterator[LintMessage]:
    settings, phases = settings_of(program.text), program.charter.phases or (Phase(),)
    idle = [_idle(charter, program) for _, charter in program.charter.by_phase()]
    for field, line in settings.set_fields:
        reasons = [why.get(field, "") for why, phase in zip(idle, phases, strict=True) if field not in phase.overrides]
        if all(reasons) and field != "phases":
            why = reasons[0] if reasons else "every phase sets it"
            yield LintMessage(line, "warning", "no-effect", f"{field} has no effect: {why}")
    lines = dict(settings.phase_lines)
    for at, phase in enumerate(program.charter.phases):
        if why := _idle_phase(program.charter, at):
            message = f"phase {at + 1} has no effect: {why}"
            yield LintMessage(lines[f"phases.{at}"], "warning", "no-effect", message)
        for field in phase.overrides:
            if why := idle[at].get(field, ""):
                message = f"phase {at + 1}: {field} has no effect: {why}"
                yield LintMessage(lines[f"phases.{at}.{field}"], "warning", "no-effect", message)


def _idle(charter: Charter, program: Program) -> dict[str, str]:
    """The fields that have no effect in a charter without phases, and why."""
    idle = {
        "keep.margin": charter.keep.rule != "margin" and "keep.rule is not margin",
        "keep.pairs": charter.keep.rule != "paired" and "keep.rule is not paired",
        "plateau.then": charter.plateau.after == 0 and "plateau.after is 0, so there is no plateau",
        "rotate": len(charter.focus) == 1 and "focus has only one group",
        "screen.promote": charter.screen.fraction == 1 and "screen.fraction is 1, so there is no screening",
        "screen.fraction": charter.screen.fraction < 1
        and charter.wave == 1
        and "a wave of 1 has nothing to rank, so every candidate is promoted",
        "proposers": "queue" in charter.proposers
        and not any(i.terms for i in program.ideas)
        and "it contains queue, but no idea names an edit in backticks",
    }
    return {field: why for field, why in idle.items() if why}


def _idle_phase(charter: Charter, at: int) -> str:
    """Why a phase changes nothing, or an empty string."""
    phases = charter.by_phase()
    begin = phases[at - 1][0] if at else 0.0
    if begin >= 1 - charter.confirm:
        return f"it begins at {begin:.0%} of the budget, and confirm keeps the last {charter.confirm:.0%} for the end"
    return "its settings are those of the phase before it" if at and phases[at][1] == phases[at - 1][1] else ""


def _screens(program: Program, doubt: Callable[[Charter], str]) -> Iterator[LintMessage]:
    """One message for each line that sets a screen which does not pay."""
    settings = settings_of(program.text)
    lines, fractions = dict((*settings.phase_lines, *settings.set_fields)), dict[int, str]()
    for at, (_, charter) in enumerate(program.charter.by_phase()):
        if why := doubt(charter):
            field = f"phases.{at}.screen.fraction"
            fractions.setdefault(lines[field if field in lines else "screen.fraction"], why)
    yield from (LintMessage(line, "warning", "below-break-even", why) for line, why in fractions.items())


def _ideas(program: Program, unread: Callable[[str], str] | None) -> Iterator[LintMessage]:
    queued = any("queue" in charter.proposers for _, charter in program.charter.by_phase())
    if any(i.terms for i in program.ideas) and not queued:
        message = "the setting proposers does not contain queue: a scripted researcher ignores these ideas; "
        message += "`metaloop: {proposers: {queue: 0.9, local: 0.1}}` in the front matter makes it try them"
        yield LintMessage(program.ideas[0].line, "info", "ideas-not-queued", message)
    for idea in program.ideas:
        if _has_open_backtick(idea.text):
            said = "a backtick without a second one: an edit stands between two, as in `NAME=VALUE`"
            yield LintMessage(idea.line, "warning", "open-backtick", said)
        elif idea.conditions and not idea.terms:
            message = "a condition, but no edit in backticks: only an LLM can follow this idea"
            yield LintMessage(idea.line, "warning", "no-edit", message)
        elif not idea.terms:
            yield LintMessage(idea.line, "info", "no-term", "no edit in backticks: only an LLM can follow this idea")
        names = Counter(re.split(r"[=:]", term)[0].strip().casefold() for term in idea.terms if "=" in term)
        for name in (name for name, count in names.items() if count > 1):
            yield LintMessage(idea.line, "warning", "set-twice", f"sets {name} twice; the last value is used")
        own = {patch.edit_name for patch in program.patches}
        for term in (*idea.terms, *map(str, idea.conditions)) if unread else ():
            if unread and term not in own and not named_in(term) and (why := unread(term)):
                yield LintMessage(idea.line, "warning", "unknown-term", f"{why}: idea skipped")


def _has_open_backtick(text: str) -> bool:
    """Whether an edit lacks one of its backticks; one that is escaped, or stands for an apostrophe, is none."""
    rest = re.sub(r"\\`|(?<!\w)`[^`\n]*`|(?<=[^\W\d])`(?=[^\W\d])", "", text)
    return "``" not in text and rest.count("`") % 2 == 1


def _patches(program: Program, misfit: Callable[[ProgramPatch], str] | None) -> Iterator[LintMessage]:
    """Patches that cannot be used, do not fit or are named by no idea, and names that no patch has."""
    named = {term for idea in program.ideas for term in idea.terms}
    for patch in program.patches:
        if patch.problem:
            yield LintMessage(patch.line, "warning", "bad-patch", f"patch {patch.name} is ignored: {patch.problem}")
        elif patch.edit_name not in named:
            yield LintMessage(patch.line, "info", "unused-patch", f"no idea names `patch:{patch.name}`")
        if not patch.problem and misfit and (why := misfit(patch)):
            message = f"patch {patch.name} does not fit the untouched script ({why}): skipped until it does"
            yield LintMessage(patch.line, "warning", "misfit", message)
    for idea in program.ideas:
        for name in filter(None, map(named_in, idea.terms)):
            message = f"the program defines no usable patch `patch:{name}`: idea skipped"
            yield LintMessage(idea.line, "warning", "no-patch", message)


def _roles(program: Program) -> Iterator[LintMessage]:
    """Ideas for a role that the program does not have, and stand-ups of fewer than two roles."""
    known = roles(program)
    for idea in program.ideas:
        if len(known) > 1 and idea.role and addressee(idea.role, known) is None:
            names = ", ".join(role.name for role in known)
            message = f"no role is called {idea.role}, so every role may get this idea; the roles are {names}"
            yield LintMessage(idea.line, "info", "unknown-role", message)
    line = dict(settings_of(program.text).set_fields).get("standups")
    if line is not None and len(known) < 2:
        message = "standups has no effect: the program has fewer than two roles"
        yield LintMessage(line, "warning", "no-effect", message)


def _repeated(program: Program) -> Iterator[LintMessage]:
    first: dict[tuple[str, str, str], int] = {}
    for d in program.directives:
        seen = first.setdefault((d.heading, d.kind, d.text), d.line)
        if seen != d.line:
            yield LintMessage(d.line, "warning", "repeated", f"repeats line {seen}", d.file)


def _headings(parsed: Outline) -> Iterator[LintMessage]:
    starts = sorted(block.start for block in parsed.blocks)
    for i, heading in enumerate(parsed.headings):
        parent = i + 1 < len(parsed.headings) and parsed.headings[i + 1].level > heading.level
        if not parent and bisect_left(starts, heading.start) == bisect_left(starts, heading.end):
            yield LintMessage(heading.start + 1, "info", "empty-section", f"section {heading.title} is empty")


def _misplaced(parsed: Outline) -> Iterator[LintMessage]:
    """Charter-like blocks below the first line, where they are ignored; examples in code are not reported."""
    code = {i for block in parsed.blocks if block.kind == "code" for i in range(block.start, block.end)}
    for i in range(parsed.body, len(parsed.lines) - 1):
        dashes = _DASHES.match(parsed.lines[i])
        if i not in code and dashes and _NEARLY_OURS.match(parsed.lines[i + 1]):
            message = "settings must start at line 1: these are ignored; move them to the top"
            if dashes[1] != "---":
                message = f"{dashes[1]} is not three hyphens: write --- above and below the settings; these are ignored"
            yield LintMessage(i + 1, "warning", "charter-not-first", message)
    if unmarked := unmarked_settings("".join(parsed.lines)):
        how = "write a line --- above and below them"
        how += ", metaloop: above the first" * (unmarked[1] not in map(str.rstrip, parsed.lines))
        how += ", and two spaces before each setting" * any(
            line not in map(str.rstrip, parsed.lines) for line in unmarked[2:-1]
        )
        at = next(i for i, line in enumerate(parsed.lines) if line.strip())
        yield LintMessage(at + 1, "warning", UNMARKED, f"these settings are ignored: {how}")


def unmarked_settings(text: str) -> list[str]:
    """The settings with which a text begins without lines of dashes, as they have to be typed; empty without any."""
    lines = [line.rstrip() for line in text.strip("\r\n").splitlines()]
    key = _KEY.match(lines[0]) if lines else None
    named = bool(lines) and OUR_KEY.match(lines[0]) is not None
    if not named and not (key and key[1] in Charter.model_fields.keys() - _COMMON):
        return []
    typed = list(takewhile(lambda line: line and not line.startswith(("#", "- ", "---")), lines[named:]))
    indent = "" if all(line.startswith(" ") for line in typed) else "  "
    for end in range(len(typed), 0, -1):  # prose may follow at once, or begin as a setting does
        block = ["---", "metaloop:", *(indent + line for line in typed[:end]), "---"]
        if named or _are_settings(block):
            return block
    return []


def _are_settings(block: list[str]) -> bool:
    try:
        return bool(settings_of("\n".join(block)).set_fields)
    except ProgramError:
        return False


def _text(parsed: Outline) -> Iterator[LintMessage]:
    yield from _other_keys(parsed)
    for block in parsed.blocks:
        placeholder = _PLACEHOLDER.search(block.text) if block.kind != "code" else None
        if placeholder:
            message = f"{placeholder.group()} looks like an unfilled placeholder"
            yield LintMessage(block.start + 1, "info", "placeholder", message)
        lines = parsed.lines[block.start : block.end]
        fence = lines[0].lstrip(" \t>")[:3]
        if block.kind == "code" and fence in ("```", "~~~") and fence not in "".join(lines[1:]):
            yield LintMessage(block.start + 1, "warning", "open-fence", "this code block is not closed")


def _other_keys(parsed: Outline) -> Iterator[LintMessage]:
    """Keys of the front matter that look like ours, and our settings where no ``metaloop:`` stands above them."""
    front = parsed.lines[: parsed.body]
    ours = any(map(OUR_KEY.match, front))
    for i, line in enumerate(front):
        if OUR_KEY.match(line) or not (key := _KEY.match(line)):
            continue
        if difflib.get_close_matches(re.sub(r"\W|_", "", key[1]).lower(), ["metaloop"], 1, 0.75):
            message = f"the key {key[1]} and the lines below it are ignored; did you mean metaloop?"
            yield LintMessage(i + 1, "warning", "not-ours", message)
        elif key[1] in Charter.model_fields.keys() - (_OTHERS if ours else _COMMON):
            below = takewhile(lambda one: one.startswith((" ", "\t", "- ")), front[i + 1 :])
            typed = ["---", "metaloop:", *("  " + one.rstrip() for one in (line, *below)), "---"]
            if key[1] not in _COMMON or _are_settings(typed):
                message = f"{key[1]} is ignored: write settings indented below {'the' if ours else 'a'} line metaloop:"
                yield LintMessage(i + 1, "warning", "not-ours", message)


def _whole(program: Program, parsed: Outline) -> Iterator[LintMessage]:
    if not any(d.kind not in ("charter", "order") for d in program.directives):
        message = "the program has no statements: only a scripted researcher can follow it"
        yield LintMessage(parsed.body + 1, "warning", "no-prose", message)
    if program.words > LONG:
        message = f"{program.words:,} words: long programs rarely do better than short ones"
        yield LintMessage(1, "info", "long", message)
    if not program.ideas and any(in_ideas(h.path) for h in parsed.headings):
        yield LintMessage(1, "info", "no-list", "the Ideas section has no list")
    listed = (b for b in parsed.blocks if b.kind == "item" and any("=" in term for term in split(b.terms)[0]))
    with_edits = () if program.ideas else tuple(b.heading + PATH for b in listed)
    for one in (h for h in parsed.headings if _NEARLY_IDEAS.fullmatch(h.title)):
        if any(path.startswith(one.path + PATH) for path in with_edits):
            message = f"the list below {one.title} is not read as ideas: name the heading Ideas"
            yield LintMessage(one.start + 1, "warning", "heading-not-ideas", message)


def _further(program: Program, path: str, text: str) -> Iterator[LintMessage]:
    """Messages about a file beside the entry file, whose front matter belongs to other tools."""
    parsed = outline(text)
    for said in (*_headings(parsed), *_text(parsed), *_misplaced(parsed), *_links(program, text, path)):
        yield replace(said, file=path)
    if (block := locate(list(parsed.lines)).block) is not None:
        message = f"these settings are ignored: only those of the entry file {program.files[0][0]} are read"
        yield LintMessage(block[0] + 1, "warning", "charter-not-entry", message, path)
    ideas = next((b for b in parsed.blocks if b.kind == "idea"), None)
    if ideas is not None:
        queued = sum(block.kind == "idea" and "`" in block.text for block in parsed.blocks)
        message = "a scripted researcher only tries ideas of the entry file, and ignores this list"
        message += f"; ideas of this file with edits in backticks: {queued}" if queued else ""
        yield LintMessage(ideas.start + 1, "warning" if queued else "info", "ideas-not-entry", message, path)


def _links(program: Program, text: str, path: str) -> Iterator[LintMessage]:
    """Links that lead to no file of the program; names in prose are reported only where there are several files."""
    known = {name for name, _ in (*program.files, *program.living)}
    for one in references(text):
        inside = resolved(one.path, path or program.files[0][0])
        folder = one.path.endswith("/") and any(name.startswith(f"{each}/") for each in inside for name in known)
        if known & set(inside) or folder or any(map(is_about_repository, [one.path, *inside])):
            continue
        if one.link:
            yield LintMessage(one.line, "warning", "dead-link", f"this link leads to no file: {one.path}", path)
        elif program.is_set and not one.written and not one.path.endswith("/"):
            yield LintMessage(one.line, "info", "not-here", f"names {one.path}, not a file of the program", path)


def _living(program: Program) -> Iterator[LintMessage]:
    for path, _ in program.living:
        message = "a living file: runs write to it, each starts from this text, and it is not part of the program's id"
        yield LintMessage(1, "info", "living", message, path)
