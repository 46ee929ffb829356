"""Values of tables as text, for terminals (after `plain_text`), pages and the report."""

from __future__ import annotations

import json
from typing import Any

from analysis.wording import brief, minus


def usd(amount: float | None) -> str:
    """``$0.25``; ``not priced`` where a price is unknown. A small amount is not displayed as $0.00."""
    return "not priced" if amount is None else "<$0.01" if 0 < amount < 0.005 else f"${amount:,.2f}"


def cell(value: Any, digits: int = 4) -> str:
    """A value of a table: floats with ``digits`` significant digits, words of a list side by side, other structures as
    JSON, a dash where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | None):
        text = brief(value, digits)
        return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    if isinstance(value, int):
        return minus(str(value))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
