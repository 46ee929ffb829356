"""What a page may hold: our own tags, attributes and addresses; anything else was written by somebody else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from programs.common.text import one_line

TAGS = """
    html head meta title link script body header footer nav main section div p h1 h2 h3 h4 h5 h6 ul ol li dl dt
    dd blockquote pre code em strong hr br table thead tbody tr th td a span time form input label textarea button meter
    details summary small figure figcaption svg line circle rect path text g polyline desc bdi caption sup select option
    del ins mark datalist
"""
ATTRIBUTES = """
    class id lang charset name content rel href type src defer tabindex role hidden scope open start method action value
    required maxlength autocomplete enctype accept rows spellcheck disabled min max for download datetime title
    placeholder viewbox width height x y x1 x2 y1 y2 cx cy r d points text-anchor transform colspan rowspan list
    pattern fill minlength checked cols wrap preserveaspectratio focusable selected dir
    readonly formenctype autocapitalize autocorrect size
"""
OURS, PLAIN = (frozenset(re.findall(r"\w+", names)) for names in (TAGS, ATTRIBUTES))
SCRIPTS = frozenset(f"/static/{name}.js" for name in ("live", "lint", "draft"))
ADDRESS = frozenset(("href", "src", "action", "formaction", "poster", "data", "srcset"))
MARKUP = re.compile(
    r"(?<!\\)<(?:script|img|svg|iframe|object|embed|base|meta|link|style|form|input|video|math|details)", re.I
)


class Found(HTMLParser):
    """Collects what does not belong in a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in OURS:
            self.wrong.append(f"<{tag}>")
        if tag == "script":
            self.scripts.append(dict(attrs).get("src") or "")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        ours = name == "formaction" and value in ("/write#found", "/enter")  # other buttons of our forms
        if not (ours or name in PLAIN or name.startswith(("aria-", "data-"))):
            self.wrong.append(f"<{tag} {name}>")
        if name in ADDRESS and (not value.startswith(("/", "#", "?")) or value.startswith(("//", "/\\"))):
            self.wrong.append(f"<{tag} {name}={value!r}>")

    def handle_decl(self, decl: str) -> None:
        if decl != "doctype html":
            self.wrong.append(f"<!{decl}>")

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"<!--{data}-->")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"<?{data}>")


def strange(html: str) -> list[str]:
    """What does not belong in one of our pages."""
    found = Found()
    found.feed(html)
    found.close()
    if len({*found.scripts}) < len(found.scripts) or not SCRIPTS.issuperset(found.scripts):
        found.wrong.append(f"{found.scripts} scripts")
    return found.wrong


def unseen(text: str) -> bool:
    """Whether characters stand in it that cannot be seen."""
    return one_line(text) != " ".join(text.split())
