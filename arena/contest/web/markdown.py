"""Text of others as HTML: parsed without raw HTML, then cut down to a short list of harmless tags."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

TAGS = frozenset({
    "h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td", "a",
})  # fmt: skip
MOST_SHOWN = 60_000  # characters


@lru_cache(maxsize=128)  # a text that is long to render is read again and again
def to_html(text: str) -> str:
    """Safe to stand in a page as it is. Pictures are left out: nothing is asked of another server.

    So are reference links: one long address and many short links to it make a page of any size.
    """
    import nh3

    cut = text[:MOST_SHOWN] + ("\n\n(cut here)" if len(text) > MOST_SHOWN else "")
    return nh3.clean(
        _parser().render(cut), tags=set(TAGS), attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https"}, link_rel="nofollow noopener noreferrer",
    )  # fmt: skip


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table").disable(["image", "reference"])
