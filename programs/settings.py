"""Parses the ``metaloop:`` block of the front matter into a Charter; each error has its line number."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from programs.charter import Charter, fields
from programs.errors import ProgramError
from programs.front_matter import FrontMatter
from programs.text import one_line

_LONGEST_NAME = 120
_MOST_COMPLAINTS = 20  # in one message
_MOST_CHARACTERS = 16 << 10  # of a charter; a typical one has a few hundred, and the parser reads 20,000 a second
_MOST_BRACKETS = 500  # opened in a charter; a typical one has a handful, and the scanner's time is quadratic in them
_IN_YAML = (  # pydantic's words for values, and ours
    (r"^Input should be ", "must be "),
    (r"a valid (?=integer)", "an "),
    (r"a valid ", "a "),
    (r"dictionary( or instance of \w+)?", "mapping of fields"),
    (r"tuple", "list"),
    (r"^(Dictionary|Tuple) should", "must"),
)


@dataclass(frozen=True)
class CharterSettings:
    """The content of ``metaloop:``. ``lines``: of each dotted key, also ``phases.0`` and ``phases.0.keep.rule``."""

    charter: Charter
    name: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def set_fields(self) -> list[tuple[str, int]]:
        """Each dotted field of the charter that is set, with its line, in the order of the lines."""
        known = dict(fields()).keys() - {"version"}
        return [(name, line) for name, line in self.lines.items() if name in known]


def read_settings(lines: Sequence[str], front: FrontMatter, file: str) -> CharterSettings:
    """Settings of a program whose front matter is ``front``. Raises ProgramError ``file:line: …``."""
    if front.block is None:
        return CharterSettings(Charter())
    start, end = front.block
    block = "".join(lines[start:end]).replace("\r\n", "\n").replace("\r", "\n")
    data, where = _load(block, start + 1, file)
    name = data.pop("name", "")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        hint = f"use one line of at most {_LONGEST_NAME} printable characters"
        raise ProgramError(f"{file}:{where['name']}: name must be one short line of text", hint=hint)
    try:
        return CharterSettings(Charter.model_validate(data), name, where)
    except ValidationError as error:
        raise _complaint(error, where, start + 1, file) from None


def _load(block: str, first_line: int, file: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings, and the line of each dotted key."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.tokens import AliasToken, AnchorToken, ScalarToken, TagToken

    unread = ProgramError(
        f"{file}:{first_line}: the settings cannot be read as YAML 1.2",
        hint=f"at most {_MOST_CHARACTERS:,} characters and {_MOST_BRACKETS} brackets",
    )
    if len(block) > _MOST_CHARACTERS or block.count("{") + block.count("[") > _MOST_BRACKETS:
        raise unread
    try:
        for token in YAML().scan(block):
            merges = isinstance(token, ScalarToken) and token.plain and token.value == "<<"
            if merges or isinstance(token, AliasToken | AnchorToken | TagToken):
                line = first_line + token.start_mark.line
                raise ProgramError(f"{file}:{line}: anchors, aliases, tags and merge keys are not supported")
        body = next(iter(YAML().load(block).values()))
        json.dumps(_plain(body), default=str, ensure_ascii=False).encode()  # an escape sequence can be no valid text
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + (mark.line if mark else 0)
        raise ProgramError(f"{file}:{line}: {_cut(error.problem or 'not valid YAML', 200)}", hint="YAML 1.2") from None
    except (YAMLError, RecursionError, ValueError):  # control characters, absurd nesting, numbers of 5,000 digits
        raise unread from None
    if body is not None and not isinstance(body, Mapping):
        raise ProgramError(f"{file}:{first_line}: metaloop: must contain fields, not {_short(body)}")
    return _plain(body or {}), dict(_lines_of(body or {}, "", first_line))


def _lines_of(node: Any, above: str, first_line: int) -> Iterator[tuple[str, int]]:
    mapping = isinstance(node, Mapping)
    for key, value in node.items() if mapping else enumerate(node):
        yield f"{above}{key}", first_line + (node.lc.key(key) if mapping else node.lc.item(key))[0]
        if isinstance(value, Mapping | list):
            yield from _lines_of(value, f"{above}{key}.", first_line)


def _plain(value: Any) -> Any:
    """Converts ruamel's annotated scalars and containers to plain Python values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)


def _complaint(error: ValidationError, where: Mapping[str, int], first_line: int, file: str) -> ProgramError:
    """One error with all complaints in file order."""
    rows = []
    for item in error.errors(include_url=False):
        path = [str(part) for part in item["loc"] if part != "[key]"]
        path += [str(item["ctx"]["at"])] if item["type"] == "phase" else []
        known = (where.get(".".join(path[:n])) for n in range(len(path), 0, -1))
        rows.append((next(filter(None, known), first_line), _said(path, item)))
    rows.sort(key=lambda row: row[0])
    said = [text if number == 0 else f"line {line}: {text}" for number, (line, text) in enumerate(rows)]
    left = [f"and {len(rows) - _MOST_COMPLAINTS} more"] if len(rows) > _MOST_COMPLAINTS else []
    message = "; ".join([*said[:_MOST_COMPLAINTS], *left])
    return ProgramError(f"{file}:{rows[0][0]}: {message}", hint="metaloop show stock --settings lists all settings")


def _said(path: Sequence[str], item: ErrorDetails) -> str:
    """The text of one of pydantic's errors."""
    if path[0] == "phases" and len(path) > 1:
        phase = f"phase {int(path[1]) + 1}"
        return f"{phase} {item['msg']}" if item["type"] == "phase" else f"{phase}: {_said(path[2:] or ['it'], item)}"
    name, message = ".".join(path), item["msg"]
    if item["type"] == "extra_forbidden":
        every = [each for each, _ in fields()]
        if name in every:
            return f"{name} cannot change during a run"
        near = difflib.get_close_matches(name, [*every, "keep", "screen", "branch", "name"], 1, 0.5)
        near = near or [each for each in every if each.split(".")[-1] == path[-1]]  # the field of another level
        return f"unknown setting {_cut(name)}{_meant(near)}"
    names = re.findall("'(.+?)'", message) if item["type"] == "literal_error" else []
    for pattern, ours in _IN_YAML:
        message = re.sub(pattern, ours, message)
    near = difflib.get_close_matches(str(item["input"]), names, 1, 0.5)
    return f"{_cut(name)} {_cut(message, 200)}, not {_short(item['input'])}{_meant(near)}"


def _meant(near: Sequence[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""


def _short(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str, most: int = 60) -> str:
    text = one_line(text)
    return text if len(text) <= most else text[: most - 1] + "…"
