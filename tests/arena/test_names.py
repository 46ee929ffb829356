"""Names of entrants and volunteers: what is written almost alike is one name; only Latin letters pass."""

from __future__ import annotations

import unicodedata

import pytest

from arena.serving.names import checked_name, name_key
from programs.common.errors import UsageError

ALIKE = {
    "Ada": "ＡＤＡ 𝐀𝐝𝐚 ada",
    "scope": "sc0pe SCOPE",
    "Bill": "BiII B111",
    "modern": "rnodern modem",
    "O'Brien": "O-Brien o_brien",
    "lyra": "Iyra 1yra",
}
NAMES = """
Ada Eda Ida Oda Uda Ana Ava Asa Ara Aya Aza Bob Rob Tom Tim Ben Ken Zed Ned Ted Sue Eve Ivy Joy Roy Guy Kay May Jose
José Åsa Ute Uwe Nora Cora Dora Yara Zara Tara Ruth Otto Łukasz Søren
Þóra Işık Đức Weiß Ægir
"""
REFUSED = ["hostˈ", "ˈhost", "\u02bc", "HOST.", "st0ck", "sᴛocĸ", "ʜᴏꜱᴛ", "former entrant 3", "Ado\u0301\u0301\u0301"]
REFUSED += [
    "a\u3164b",
    "\u115fAda",
    "a\u1160b",
    "a\uffa0b",
    "\u04bb\u043e\u0455\u0442",
    "\u0410d\u0430",
    "Ελένη",
    "山田",
]
ORDINARY = ["O'Brien", "Nguyễn Thị", "Łukasz", "Søren", "ﬃ", "J. R. R. T.", "team_7"]


@pytest.mark.parametrize("name", ALIKE)
def test_name_written_like_another_has_its_key(name: str) -> None:
    assert [other for other in ALIKE[name].split() if name_key(name) != name_key(other)] == []


def test_different_names_have_different_keys() -> None:
    names = NAMES.split()
    assert [(a, b) for at, a in enumerate(names) for b in names[:at] if name_key(a) == name_key(b)] == []
    assert [checked_name(name) for name in names] == names


@pytest.mark.parametrize("name", REFUSED)
def test_invisible_reserved_or_modified_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_name_is_accepted(name: str) -> None:
    assert checked_name(name) == unicodedata.normalize("NFKC", name)
