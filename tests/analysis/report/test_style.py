"""The look of a report, computed: contrast in both colour schemes (WCAG 2.2 AA), and the libraries it carries."""

from __future__ import annotations

import hashlib
import re

import pytest

from analysis.report import page

TEXT, SHAPES = 4.5, 3.0  # the least contrast of text, and of what must be seen to understand a picture (1.4.3, 1.4.11)
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "soft", "accent", "warm") for ground in ("bg", "panel")),
    *(("ink", f"{way}-{step}", TEXT) for way in ("up", "down") for step in range(1, 5)),
    *((ink, "band", TEXT) for ink in ("ink", "soft")),
    *((shape, ground, SHAPES) for shape in ("accent", "warm", "soft", "other") for ground in ("bg", "band")),
]
SCHEMES = ("light", "dark")


def colours(scheme: str) -> dict[str, str]:
    found = re.findall(
        r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", page.template_text("style.css")
    )
    assert len(found) > 15
    return {name: (light, dark)[SCHEMES.index(scheme)] for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_must_be_read_can_be_read(scheme: str) -> None:
    known = colours(scheme)
    weak = {
        (ink, ground): round(contrast(known[ink], known[ground]), 2)
        for ink, ground, least in PAIRS
        if contrast(known[ink], known[ground]) < least
    }
    assert not weak


def test_every_colour_comes_from_the_list() -> None:
    """A colour that is written anywhere else escapes the check above."""
    style = page.template_text("style.css")
    rules = style[style.index('[data-theme="light"]') :]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsl", rules)
    known = set(colours("light"))
    for name in ("style.css", "charts.js", "page.js", "experiments.js"):
        text = page.template_text(name)
        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", text)) <= known
        assert set(re.findall(r'colour\("([a-z0-9-]+)"\)', text)) <= known
        assert name == "style.css" or not re.search(r'"#[0-9a-f]{3,6}"', text)


def test_libraries_are_those_that_were_fetched() -> None:
    versions = (page.ASSETS / "VERSIONS").read_text()
    for line in versions.partition("SHA-256\n")[2].splitlines():
        digest, name = line.split()
        assert hashlib.sha256((page.ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert "https://d3js.org v7.9.0" in page.asset("d3.min.js")[:60]
    assert "plot v0.6.17" in page.asset("plot.umd.min.js")[:60]
    assert "Mike Bostock" in page.licences() and "Observable" in page.licences()
