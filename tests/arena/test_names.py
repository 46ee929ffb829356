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
REFUSED = [
    "hostˈ", "ˈhost", "\u02bc", "HOST.", "st0ck", "sᴛocĸ", "ʜᴏꜱᴛ", "former entrant 3", "Ado\u0301\u0301\u0301",
    "a\u3164b", "\u115fAda", "a\u1160b", "a\uffa0b", "\u04bb\u043e\u0455\u0442", "\u0410d\u0430", "Ελένη", "山田",
]  # fmt: skip


def test_name_written_like_another_has_its_key_and_no_other() -> None:
    for name, alike in ALIKE.items():
        assert {name_key(other) for other in alike.split()} == {name_key(name)}
    names = NAMES.split()
    assert len({name_key(name) for name in names}) == len(names) and list(map(checked_name, names)) == names


@pytest.mark.parametrize("name", REFUSED)
def test_invisible_reserved_or_modified_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


def test_ordinary_name_is_accepted() -> None:
    for name in ("O'Brien", "Nguyễn Thị", "Łukasz", "Søren", "ﬃ", "J. R. R. T.", "team_7"):
        assert checked_name(name) == unicodedata.normalize("NFKC", name)
