"""The output contract: data on stdout, everything else on stderr; formatted for a terminal, plain, or JSON.

Programs, edits and logs contain untrusted text: control characters never reach the terminal, and nothing is
interpreted as markup.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from programs.common.errors import UsageError
from programs.common.text import escaped, filled, no_formula, one_line, printable, wrapped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Mode = Literal["person", "plain", "json"]
Row = Mapping[str, object]
GAP = 2  # blanks between columns
LEAST = 20  # least width of a wrapped column, in characters
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


@dataclass(frozen=True)
class Column:
    """One column of a table. ``show`` formats the value at a terminal; plain output has the raw value."""

    key: str
    title: str = ""
    show: Callable[[Any], str] | None = None
    right: bool = False
    wrap: bool = False  # wrapped in a narrow terminal
    style: str = ""
    optional: bool = False  # left out, the last one first, in a terminal that is too narrow
    person: bool = True  # False: only in plain output

    @property
    def heading(self) -> str:
        return self.title or self.key


def are_numbers(rows: Sequence[Row], key: str) -> bool:
    """Whether all values of a column are numbers, and there are some."""
    values = [row.get(key) for row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def columns(keys: str) -> tuple[Column, ...]:
    """A column for each of these keys."""
    return tuple(map(Column, keys.split()))


class Output:
    """Where a command writes. Built once per command from its flags and the kind of stdout."""

    def __init__(self, *, as_json: bool = False, person: bool | None = None) -> None:
        at_terminal = sys.stdout.isatty() if person is None else person
        self.mode: Mode = "json" if as_json else "person" if at_terminal else "plain"

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
            plain = clean(text, keep="\n\t")
            plain = filled(plain, self.console.width) if self.mode == "person" else plain
            click.echo(plain, nl=not text.endswith("\n"), color=False)

    def show(self, thing: RenderableType) -> None:
        """Print a rich renderable at a terminal; a text without the characters that `clean` removes."""
        from rich.text import Text

        if isinstance(thing, Text):
            thing.plain = clean(thing.plain, keep="\n")
        self.console.print(thing, markup=False, highlight=False)

    def json_only(self, item: Row) -> None:
        """What a script reads and a person has read in remarks."""
        if self.mode == "json":
            self.json(item)

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
        """A remark."""
        click.echo(wrapped(clean(text, keep="\n")), err=True, color=False)

    def meanwhile(self, text: str) -> None:
        """What takes a while now; only where stderr is a terminal."""
        if sys.stderr.isatty():
            self.note(f"{text} …")

    def next(self, *commands: str) -> None:
        """Commands that go on from here, one a line, so that each can be copied."""
        click.echo("\n  ".join(["next:", *map(clean, commands)]), err=True, color=False)

    def warn(self, text: str) -> None:
        """A warning."""
        click.echo(wrapped("warning: " + clean(text)), err=True, color=False)


def ask(question: str, refused: str, hint: str) -> None:
    """Go on only if the user says yes. Raises UsageError, which says ``refused``, where there is no terminal."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(refused, hint=hint)
    click.confirm(wrapped(f"{one_line(question)} [y/N]"), abort=True, err=True, show_default=False)


def table(items: Sequence[Row], columns: Sequence[Column], width: int = 80) -> RenderableType:
    """A table without lines, at most ``width`` wide; values of type rich.Text are not converted. In a narrow terminal
    optional columns are left out, the last one first, and then texts are wrapped."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    def least(column: Column) -> int:
        cells = [column.heading, *(str(_cell(column, item.get(column.key))) for item in items)]
        widest = max(cell_len(line) for cell in cells for line in cell.split("\n"))
        return min(widest, LEAST) if column.wrap else widest

    kept = list(columns)
    while sum(least(c) + GAP for c in kept) - GAP > width and (gone := [c for c in kept if c.optional]):
        kept.remove(gone[-1])
    texts = [c for c in kept if c.wrap]
    room = width - GAP * (len(kept) - 1) - sum(least(c) for c in kept if not c.wrap)
    out = Table(box=None, pad_edge=False, show_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for c in kept:
        out.add_column(
            Text(c.heading),
            justify="right" if c.right else "left",
            no_wrap=not c.wrap,
            overflow="fold" if c.wrap else "ellipsis",
            min_width=min(least(c), max(room // len(texts), 1)) if c.wrap else None,
            style=c.style or None,
        )
    for item in items:
        cells = (_cell(c, item.get(c.key)) for c in kept)
        out.add_row(*(value if isinstance(value, Text) else Text(value) for value in cells))
    return out


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


def _cell(column: Column, value: Any) -> Any:
    """A value as text, or unchanged where it is a rich.Text."""
    if hasattr(value, "markup"):
        return value
    is_missing = value is None or (isinstance(value, float) and math.isnan(value))
    return clean(brief(column.show(value) if column.show and not is_missing else value))


def now() -> str:
    """The current time in UTC, to the second, as ISO 8601 with a Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clean(text: object, keep: str = "") -> str:
    """`printable` text without its escape sequences, such as the colours of a log."""
    return printable(ESCAPES.sub("", str(text)), keep)


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters, the last three dots where it was longer."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]


def json_line(value: Any) -> str:
    """JSON whose strings have escapes for the characters that `clean` removes: the value is the same."""
    return escaped(json.dumps(value, ensure_ascii=False, allow_nan=False))


def bare(value: Any) -> str:
    """A value in plain output: empty where missing, numbers in full precision, structures as JSON, no tabs, no formula
    of a spreadsheet."""
    value = jsonable(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return clean(json.dumps(value, ensure_ascii=False))
    return no_formula(clean(value)) if isinstance(value, str) else clean(value)


def brief(value: Any) -> str:
    """A value at a terminal."""
    from analysis.table_cells import cell  # loads the package, which --help has no time for
    from analysis.wording import plain_text

    return plain_text(cell(jsonable(value)))


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
