"""Untrusted markdown as HTML: parsed without raw HTML, then reduced to a short list of harmless tags."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from programs.text import word_list

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

TAGS = frozenset(
    word_list("""
    h1 h2 h3 h4 h5 h6 p ul ol li blockquote pre code em strong hr br table thead tbody tr th td a
""")
)
MOST_SHOWN = 60_000  # characters


@lru_cache(maxsize=128)  # long texts are slow to render and read often
def to_html(text: str) -> str:
    """HTML that is safe to insert in a page. Without pictures, which would load from other servers, and without
    reference links, by which a short text with one long URL becomes a page of any size.
    """
    import nh3

    cut = text[:MOST_SHOWN] + ("\n\n(cut here)" if len(text) > MOST_SHOWN else "")
    return nh3.clean(
        _parser().render(cut),
        tags=set(TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https"},
        link_rel="nofollow noopener noreferrer",
    )


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table").disable(["image", "reference"])
