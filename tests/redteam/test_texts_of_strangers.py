"""Texts of strangers that once took minutes, or ended a study: each is read, refused in one line, or set aside, soon."""

from __future__ import annotations

