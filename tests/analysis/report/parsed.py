"""A page as a browser's parser sees it."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser


class Parsed(HTMLParser):
    """Its elements (tag, attributes), scripts (attributes, text), remaining text, and the tables of each figure as
    lists of rows of text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._inside = {"script": False, "style": False, "td": False, "th": False}
        self._figure = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in self._inside:
            self._inside[tag] = True
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "figure":
            self._figure = dict(attrs).get("id") or ""
        if tag == "tr" and self._figure:
            self.tables.setdefault(self._figure, []).append([])
        if tag in ("td", "th") and self._figure:
            self.tables[self._figure][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside[tag] = False
        if tag == "figure":
            self._figure = ""

    def handle_data(self, data: str) -> None:
        if self._inside["script"]:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self._inside["style"]:
            self.text += data
            if self._figure and (self._inside["td"] or self._inside["th"]):
                self.tables[self._figure][-1][-1] += data

    @property
    def data(self) -> list[str]:
        return [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]

    def rows(self, figure: str) -> list[Mapping[str, str]]:
        name = next(name for name in self.tables if name.startswith(figure))
        titles, *rows = self.tables[name]
        return [dict(zip(titles, row, strict=True)) for row in rows if len(row) == len(titles)]  # the first table's
