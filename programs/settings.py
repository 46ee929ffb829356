"""Parses the ``metaloop:`` block of the front matter into a Charter; each error has its line number."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from programs.charter import Charter, Phase, fields
from programs.errors import ProgramError
from programs.front_matter import FrontMatter
from programs.text import one_line

Lines = dict[tuple[str, ...], int]
_LONGEST_NAME = 120
_MOST_COMPLAINTS = 20  # in one message
_MOST_CHARACTERS = 16 << 10  # of a charter; a typical one has a few hundred, and the parser reads 20,000 a second
_MOST_BRACKETS = 500  # opened in a charter; a typical one has a handful, and the scanner's time is quadratic in them
_BRACKETS = {"while parsing a flow mapping": "{", "while parsing a flow sequence": "["}


@dataclass(frozen=True)
class CharterSettings:
    """The content of ``metaloop:``. ``set_fields``: each dotted field that is set, with its line; ``phase_lines``: the
    line of each phase (``phases.0``) and of each field that it sets (``phases.0.keep.rule``)."""

    charter: Charter
    name: str = ""
    set_fields: tuple[tuple[str, int], ...] = ()
    phase_lines: tuple[tuple[str, int], ...] = ()


def read_settings(lines: Sequence[str], front: FrontMatter, file: str) -> CharterSettings:
    """Settings of a program whose front matter is ``front``. Raises ProgramError ``file:line: …``."""
    if front.block is None:
        return CharterSettings(Charter())
    start, end = front.block
    block = "".join(lines[start:end]).replace("\r\n", "\n").replace("\r", "\n")
    data, where = _load(block, start + 1, file)
    name = data.pop("name", "")
    if not isinstance(name, str):
        raise ProgramError(f"{file}:{where[('name',)]}: name must be text", hint="put it in quotes")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        hint = f"use one line of at most {_LONGEST_NAME} printable characters"
        raise ProgramError(f"{file}:{where[('name',)]}: name must be one short line of text", hint=hint)
    try:
        charter = Charter.model_validate(data)
    except ValidationError as error:
        raise _complaint(error, where, start + 1, file) from None
    set_fields = tuple(_set_fields(data, where))
    phase_lines = tuple((".".join(path), line) for path, line in where.items() if path[0] == "phases")
    return CharterSettings(charter, name, set_fields, phase_lines)


def _load(block: str, first_line: int, file: str) -> tuple[dict[str, object], Lines]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.tokens import AliasToken, AnchorToken, ScalarToken, TagToken

    if len(block) > _MOST_CHARACTERS:
        hint = f"it is longer than {_MOST_CHARACTERS:,} characters"
        raise ProgramError(f"{file}:{first_line}: the settings cannot be read as YAML 1.2", hint=hint)
    if block.count("{") + block.count("[") > _MOST_BRACKETS:
        hint = f"it opens more than {_MOST_BRACKETS} brackets"
        raise ProgramError(f"{file}:{first_line}: the settings cannot be read as YAML 1.2", hint=hint)
    try:
        for token in YAML().scan(block):
            if isinstance(token, AliasToken | AnchorToken | TagToken):
                line = first_line + token.start_mark.line
                raise ProgramError(f"{file}:{line}: anchors, aliases and tags are not supported")
            if isinstance(token, ScalarToken) and (why := _unfit(token.value, token.plain)):
                raise ProgramError(f"{file}:{first_line + token.start_mark.line}: {why}")
        tree = YAML().load(block)
    except MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, _one_line(error.problem or "not valid YAML")
        opened = error.context_mark
        if opened and error.context in _BRACKETS and not _closes(block[opened.index :]):  # a later line is marked
            mark, problem = opened, f"the {_BRACKETS[error.context]} opened here is not closed: {problem}"
        line = first_line + (mark.line if mark else 0)
        raise ProgramError(f"{file}:{line}: {problem}", hint="settings are YAML 1.2") from None
    except (YAMLError, RecursionError, ValueError):  # control characters, absurd nesting, numbers of 5,000 digits
        raise ProgramError(f"{file}:{first_line}: the settings cannot be read as YAML 1.2") from None
    body = next(iter(tree.values()))
    if body is None:
        return {}, {}
    if not isinstance(body, Mapping):
        raise ProgramError(f"{file}:{first_line}: metaloop: must contain fields, not {_short(body)}")
    where: Lines = {}
    _note_lines(body, (), first_line, where)
    return _plain(body), where


def _closes(text: str) -> bool:
    """Whether the bracket with which a text begins is closed in it; those in quotes and comments do not count."""
    depth = 0
    for sign in re.findall(r"""[{}\[\]]""", re.sub(r"""(?<!\w)("[^"\n]*"|'[^'\n]*')|(?<=\s)#.*""", "", text)):
        depth += 1 if sign in "{[" else -1
        if not depth:
            return True
    return False


def _unfit(value: str, plain: bool) -> str:
    """Why a scalar is refused, or an empty string. An escape sequence can encode text that is not valid in a file."""
    if plain and value == "<<":
        return "merge keys are not supported"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "a lone surrogate is not valid text"
    return ""


def _note_lines(node: Any, path: tuple[str, ...], first_line: int, where: Lines) -> None:
    mapping = isinstance(node, Mapping)
    for key, value in node.items() if mapping else enumerate(node):
        where[(*path, str(key))] = first_line + (node.lc.key(key) if mapping else node.lc.item(key))[0]
        if isinstance(value, Mapping | list):
            _note_lines(value, (*path, str(key)), first_line, where)


def _plain(value: Any) -> Any:
    """Converts ruamel's annotated scalars and containers to plain Python values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _set_fields(data: Container[str], where: Lines) -> Iterator[tuple[str, int]]:
    known = dict(fields())
    for path, line in where.items():
        field = ".".join(path)
        if field in known and field != "version" and path[0] in data:
            yield field, line


def _complaint(error: ValidationError, where: Lines, first_line: int, file: str) -> ProgramError:
    """One error with all complaints in file order, reworded; the hint belongs to the first one."""
    complaints = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"] if part != "[key]")
        path += (str(item["ctx"]["at"]),) if item["type"] == "phase" else ()
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in where), ())
        complaints.append((where.get(known, first_line), path, item))
    complaints.sort(key=lambda entry: entry[0])
    (line, path, item), *others = complaints
    more = [f"; line {at}: {_said(field, what)}" for at, field, what in others[: _MOST_COMPLAINTS - 1]]
    left = f"; and {len(complaints) - _MOST_COMPLAINTS} more" if len(complaints) > _MOST_COMPLAINTS else ""
    hint = _known_fields(path) if item["type"] == "extra_forbidden" else ""
    return ProgramError(f"{file}:{line}: {_said(path, item)}{''.join(more)}{left}", hint=hint)


def _said(path: tuple[str, ...], item: ErrorDetails) -> str:
    """The text of one of pydantic's errors."""
    if path[0] == "phases" and len(path) > 1:
        phase = f"phase {int(path[1]) + 1}"
        if item["type"] == "phase":
            return f"{phase} {item['msg']}"
        if len(path) == 3 and path[2] in Charter.model_fields and item["type"] == "extra_forbidden":
            return f"{phase} sets {path[2]}, which cannot change during a run"
        return f"{phase}: {_said(path[2:] or ('it',), item)}"
    field = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"unknown setting {_cut(field)}{_nearest(path)}"
    if item["loc"] and item["loc"][-1] == "[key]":
        if item["type"] == "literal_error" and path[:-1] == ("proposers",):
            return _no_proposer(path[-1], item["ctx"]["names"])
        field = ".".join(path[:-1]) + f" key {path[-1]}"
    example = _example(field) if item["type"] in ("model_type", "dict_type") else ""
    return f"{field} {_in_our_words(item['msg'])}{example}, not {_short(item['input'])}"


def _no_proposer(name: str, names: str) -> str:
    """``names``: those that there are, each in quotes."""
    near = difflib.get_close_matches(name, re.findall("'(.+?)'", names), 1, 0.5)
    meant = f"did you mean {near[0]}? There are" if near else "there are"
    known = names.replace("'", "").replace(" or ", " and ")
    return f'proposers: there is no proposer "{_cut(name)}"; {meant} {known}'


def _example(field: str) -> str:
    """How a mapping is written: its first field with the default; empty for what is no field of the charter."""
    default = Charter().model_dump(mode="json").get(field)
    return next((f" ({field}: {{{name}: {value}}})" for name, value in (default or {}).items()), "")


def _in_our_words(message: str) -> str:
    """A message of pydantic with YAML's terms instead of Python's."""
    for pattern, ours in (
        (r"^Input should be ", "must be "),
        (r"\ba valid (?=integer)", "an "),
        (r"\ba valid ", "a "),
        (r"dictionary( or instance of \w+)?", "mapping of fields"),
        (r"^Tuple should have at most (\d+) items.*", r"must have at most \1 parts"),
        (r"^Dictionary should have at least 1 item.*", "must name at least one"),
        (r"\btuple\b", "list"),
    ):
        message = re.sub(pattern, ours, message)
    return _one_line(message)


def _nearest(path: tuple[str, ...]) -> str:
    everything = [name for name, _ in fields()] + ["keep", "screen", "branch", "name"]
    same_level = [name for name in everything if name.startswith(".".join(path[:-1]))]
    near = difflib.get_close_matches(".".join(path), same_level, 1, 0.5)
    if not near:  # the field of another level: promote instead of screen.promote
        near = [name for name in everything if name.split(".")[-1] == path[-1]]
    return f"; did you mean {near[0]}?" if near else ""


def _known_fields(path: tuple[str, ...]) -> str:
    if path[0] == "phases" and len(path) == 3:
        return "a phase can set: " + ", ".join(Phase.model_fields)
    parts = {name: info.annotation for name, info in Charter.model_fields.items()}
    inner = parts.get(path[0]) if len(path) > 1 else Charter
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return "known: " + ", ".join([*(["name"] if inner is Charter else []), *inner.model_fields])
    return ""


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _one_line(text: str) -> str:
    return one_line(text)[:200]
