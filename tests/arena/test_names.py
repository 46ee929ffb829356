"""Names of entrants and volunteers: what looks alike is one name, what cannot be seen is none."""

from __future__ import annotations

import pytest

from arena.serving.names import checked_name, skeletons
from programs.common.errors import UsageError

ALIKE = {
    "Ada": "Аԁа ᴀᴅᴀ Ada\u0331 ＡＤＡ 𝐀𝐝𝐚",
    "scope": "ѕсоре ꜱᴄᴏᴘᴇ sc0pe",
    "BOB": "ВОВ ΒΟΒ ʙᴏʙ вов",
    "NATAXA": "ΝΑΤΑΧΑ ɴᴀᴛᴀxᴀ",
    "host": "һоѕт ʜᴏꜱᴛ HOST h0st",
    "Bill": "BiII B111 ᏴᎥⅼⅼ",
    "modern": "rnodern modem",
    "O'Brien": "OʼBrien O-Brien",
    "lyra": "ӏуга Iyra 1yra",
    "Kate": "Кате ΚΑΤΕ ĸate ᴋᴀᴛᴇ ꓗꓮꓔꓰ",
    "coco": "сосо ⲥⲟⲥⲟ ᴄᴏᴄᴏ",
    "pax": "рах ραχ ᴘᴀx",
    "anna": "аппа ᴀɴɴᴀ",
}
NAMES = """
Ada Eda Ida Oda Uda Ana Ava Asa Ara Aya Aza Bob Rob Tom Tim Ben Ken Zed Ned Ted Sue Eve Ivy Joy Roy Guy Kay May Jose
José Åsa Ute Uwe Nora Cora Dora Yara Zara Tara Ruth Otto Łukasz Søren
中村 中林 Пётр Олег Иван Ева Νίκος Άννα शिव शुभ 김민수 김민호
"""
REFUSED = ["hostˈ", "ˈhost", "\u02bc", "HOST.", "sᴛocĸ", "һоѕт", "former entrant 3", "Ado\u0301\u0301\u0301"]
REFUSED += ["a\u3164b", "\u115fAda", "a\u1160b", "a\uffa0b"]
ORDINARY = ["OʼBrien", "Hawaiʻian", "ユーザー", "佐々木", "奈々", "Nguyễn Thị", "Łukasz", "Søren", "किशोर"]


@pytest.mark.parametrize("name", ALIKE)
def test_name_that_looks_like_another_shares_a_skeleton(name: str) -> None:
    assert [other for other in ALIKE[name].split() if not skeletons(name) & skeletons(other)] == []


def test_different_names_share_no_skeleton() -> None:
    names = NAMES.split()
    assert [(a, b) for at, a in enumerate(names) for b in names[:at] if skeletons(a) & skeletons(b)] == []
    assert [checked_name(name) for name in names] == names


@pytest.mark.parametrize("name", REFUSED)
def test_invisible_reserved_or_modified_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_name_is_accepted(name: str) -> None:
    assert checked_name(name) == name
