"""The output contract: data on stdout, everything else on stderr; formatted for a terminal, plain, or JSON.

Programs, edits and logs contain untrusted text: control characters never reach the terminal, and nothing is
interpreted as markup.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from programs.errors import UsageError
from programs.text import filled, wrapped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Mode = Literal["person", "plain", "json"]
Row = Mapping[str, object]
GAP = 2  # blanks between columns
LEAST = 12  # least width of a flexible column, in characters
NO_BREAK = "\N{NO-BREAK SPACE}"
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


@dataclass(frozen=True)
class Column:
    """One column of a table. ``show`` formats the value at a terminal; plain output has the raw value."""

    key: str
    title: str = ""
    show: Callable[[Any], str] | None = None
    right: bool = False
    flex: bool = False  # shortened with an ellipsis in a narrow terminal
    wrap: bool = False  # wrapped in a narrow terminal
    style: str = ""
    optional: bool = False  # left out, the last one first, in a terminal that is too narrow
    person: bool = True  # False: only in plain output

    @property
    def heading(self) -> str:
        return self.title or self.key


def columns(keys: str) -> tuple[Column, ...]:
    """A column for each of these keys."""
    return tuple(map(Column, keys.split()))


class Output:
    """Where a command writes. Built once per command from its flags and the kind of stdout."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, person: bool | None = None) -> None:
        at_terminal = sys.stdout.isatty() if person is None else person
        self.mode: Mode = "json" if as_json else "person" if at_terminal else "plain"
        self.quiet = quiet

    # -- data, on stdout -------------------------------------------------------------------------------------

    def rows(
        self, items: Iterable[Row], columns: Sequence[Column], *, empty: str = "", extra: Row | None = None
    ) -> None:
        """A list: as JSON in an envelope ``{"as_of", ..., "items"}``, plain as tab-separated lines with a header."""
        items = list(items)
        if self.mode == "json":
            self.json({"as_of": now(), **(extra or {}), "items": items})
        elif self.mode == "plain":
            self._plain("\t".join(c.key for c in columns))
            for item in items:
                self._plain("\t".join(bare(item.get(c.key)) for c in columns))
        elif items:
            self.show(table(items, [c for c in columns if c.person], self.console.width))
        if not items and empty:
            self.note(empty)

    def below(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Remarks on a table's rows, at a terminal: below it, where a sentence has the whole width."""
        if self.mode == "person" and pairs:
            self.text("")
            self.show(key_values(pairs))

    def thing(self, item: Row, *, shown: Mapping[str, str] | None = None) -> None:
        """One object: as JSON, plain as ``key<TAB>value``, or aligned at a terminal (``shown`` replaces values)."""
        if self.mode == "json":
            self.json(item)
        elif self.mode == "plain":
            for key, value in item.items():
                self._plain(f"{key}\t{bare(value)}")
        else:
            pairs = [(k, (shown or {}).get(k, brief(v))) for k, v in item.items()]
            self.show(key_values(pairs))

    def text(self, text: str, *, item: Row | None = None) -> None:
        """A document (a program, a diff): the text itself, or ``item`` (default ``{"text"}``) as JSON."""
        if self.mode == "json":
            self.json(item if item is not None else {"text": text})
        else:
            shown = clean(text, keep="\n\t")
            shown = filled(shown, self.console.width) if self.mode == "person" else shown
            click.echo(shown, nl=not text.endswith("\n"), color=False)

    def show(self, thing: RenderableType) -> None:
        """Print a rich renderable at a terminal; a text without the characters that `clean` removes."""
        from rich.text import Text

        if isinstance(thing, Text):
            thing.plain = clean(thing.plain, keep="\n")
        self.console.print(thing, markup=False, highlight=False)

    def json(self, value: Any) -> None:
        click.echo(json_line(jsonable(value)), color=False)

    def _plain(self, line: str) -> None:
        click.echo(line, color=False)

    @property
    def console(self) -> Console:
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)

    # -- everything else, on stderr --------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A remark; ``-q`` silences it."""
        if not self.quiet:
            click.echo(wrapped(clean(text, keep="\n")), err=True, color=False)

    def meanwhile(self, text: str) -> None:
        """What takes a while now; only where stderr is a terminal."""
        if sys.stderr.isatty():
            self.note(f"{text} …")

    def next(self, *commands: str) -> None:
        """Commands that go on from here, one a line, so that each can be copied."""
        if not self.quiet:
            width = shutil.get_terminal_size().columns - 2 if sys.stderr.isatty() else 0
            shown = (folded(clean(command), width) for command in commands)
            click.echo("\n  ".join(["next:", *shown]), err=True, color=False)

    def warn(self, text: str) -> None:
        """A warning; shown with ``-q`` too."""
        click.echo(wrapped("warning: " + clean(text)), err=True, color=False)


def ask(question: str, refused: str, hint: str) -> None:
    """Go on only if the user says yes. Raises UsageError, which says ``refused``, where there is no terminal."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(refused, hint=hint)
    click.confirm(wrapped(f"{clean(question)} [y/N]"), abort=True, err=True, show_default=False)


def folded(command: str, width: int) -> str:
    """A shell command, continued on further lines where it is wider than ``width`` (0: unlimited), so that a terminal
    breaks no word; it can still be copied. Quoted words stay whole. The comment then has its own lines before it."""
    if not width or len(command) <= width:
        return command
    typed, mark, comment = command.partition("  # ")
    if mark:
        whole = re.sub(r"(?<=\d) (?=\w)", NO_BREAK, comment)  # a number and its unit
        said = textwrap.wrap(whole, max(width - 2, 1), break_long_words=False)
        return "\n  ".join([*(f"# {line.replace(NO_BREAK, ' ')}" for line in said), folded(typed, width)])
    lines = [""]
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\S)+", typed):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"      {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def table(items: Sequence[Row], columns: Sequence[Column], width: int = 80) -> RenderableType:
    """A table without lines, at most ``width`` wide; values of type rich.Text are not converted."""
    from rich.table import Table
    from rich.text import Text

    columns, widths = fit_columns(items, columns, width)
    out = Table(box=None, pad_edge=False, show_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for c, wide in zip(columns, widths, strict=True):
        out.add_column(
            Text(c.heading),
            justify="right" if c.right else "left",
            no_wrap=not c.wrap,
            overflow="fold" if c.wrap else "ellipsis",
            width=wide,
            style=c.style or None,
            vertical="bottom" if any("\n" in c.heading for c in columns) else "top",
        )
    for item in items:
        cells = [_cell(c, item.get(c.key)) for c in columns]
        cells = [_broken(cell, wide) if c.wrap else cell for cell, c, wide in zip(cells, columns, widths, strict=True)]
        out.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return out


def fit_columns(items: Sequence[Row], columns: Sequence[Column], width: int) -> tuple[list[Column], list[int]]:
    """Columns and widths that fit: flexible columns are narrowed first, then optional ones are left out."""
    kept = list(columns)
    natural = {c.key: _widest(items, c) for c in kept}
    words, parts = (
        {c.key: max(_widest(items, c, split) if c.wrap else 0, LEAST) for c in kept} for split in (str.split, _parts)
    )
    while True:
        room = width - GAP * (len(kept) - 1)
        for least in (words, parts, {}):  # else names are broken after a hyphen, else words anywhere
            widths = _shrunk([(natural[c.key], c.flex or c.wrap, least.get(c.key, LEAST)) for c in kept], room)
            if sum(widths) <= room:
                break
        spare = next((c for c in reversed(kept) if c.optional), None)
        if sum(widths) + GAP * (len(kept) - 1) <= width or spare is None:
            return kept, widths
        kept.remove(spare)


def _shrunk(columns: Sequence[tuple[int, bool, int]], room: int) -> list[int]:
    """Widths within ``room`` where the flexible columns allow it: the widest is narrowed first, to its least width."""
    widths = [natural for natural, _, _ in columns]
    while sum(widths) > room:
        able = [i for i, (_, flexible, least) in enumerate(columns) if flexible and widths[i] > least]
        if not able:
            break
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def key_values(pairs: Sequence[tuple[str, str]]) -> RenderableType:
    """Two aligned columns: names dim, values wrapped."""
    from rich.table import Table
    from rich.text import Text

    out = Table.grid(padding=(0, 2, 0, 0))
    out.add_column(style="dim", no_wrap=True)
    out.add_column(overflow="fold")
    for key, value in pairs:
        out.add_row(Text(key), Text(clean(value, keep="\n")))
    return out


def _parts(text: str) -> list[str]:
    """Its words, those with hyphens divided after each."""
    return [part for word in text.split() for part in re.split(r"(?<=[^\W\d]-)(?=\w)", word)]


def _broken(cell: Any, width: int) -> Any:
    """A cell with a line break after the last hyphen that fits, in each word that is wider than the column."""

    def broken(word: re.Match[str]) -> str:
        lines = [""]
        for part in _parts(word[0]):
            lines = [*lines[:-1], lines[-1] + part] if len(lines[-1]) + len(part) <= width else [*lines, part]
        return "\n".join(filter(None, lines))

    return re.sub(r"\S+", broken, cell) if isinstance(cell, str) else cell


def _widest(items: Sequence[Row], column: Column, split: Callable[[str], list[str]] = str.splitlines) -> int:
    """The width of the widest cell or heading; ``split``: of the widest of the parts into which this divides them."""
    from rich.cells import cell_len

    texts = [column.heading, *(str(_cell(column, item.get(column.key))) for item in items)]
    return max(cell_len(part) for text in texts for part in split(text) or [""])


def _cell(column: Column, value: Any) -> Any:
    """A value as text, or unchanged where it is a rich.Text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if hasattr(value, "markup"):
        return value
    return clean(column.show(value) if column.show else brief(value))


def now() -> str:
    """The current time in UTC, to the second, as ISO 8601 with a Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clean(text: object, keep: str = "") -> str:
    """Text with invisible characters (except ``keep``) replaced by blanks: control characters, marks of direction, lone
    surrogates. Untrusted text could otherwise move the cursor or reverse the order of other text."""
    plain = ESCAPES.sub("", str(text))
    return "".join(c if c in keep or c.isprintable() else " " for c in plain)


def json_line(value: Any) -> str:
    """JSON whose strings have escapes for the characters that `clean` removes: the value is the same."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def bare(value: Any) -> str:
    """A value in plain output: empty where missing, numbers in full precision, structures as JSON, no tabs."""
    value = jsonable(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return clean(json.dumps(value, ensure_ascii=False))
    return clean(value)


def brief(value: Any) -> str:
    """A value at a terminal: floats with four significant digits."""
    value = jsonable(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and all(isinstance(v, str | int) for v in value):
        return " ".join(map(str, value)) or "-"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def jsonable(value: Any) -> Any:
    """The value as JSON: NaN as null, times as ISO 8601 UTC, numpy values as numbers and lists."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(v) for v in value]
    if isinstance(value, datetime):
        return _time(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return jsonable(value.tolist())
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    return str(value)


def _time(value: datetime) -> str | None:
    if value != value:  # pandas' NaT
        return None
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.isoformat().replace("+00:00", "Z")
