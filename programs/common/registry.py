"""Exchangeable parts by name: those of our own folders, and those that installed packages add.

A kind of part has a package of its own. Each of its modules that defines ``make`` is one part, named as the module
(``write_ideas.py`` is ``write-ideas``), and ``make`` makes it. A package adds a part by an entry point of the group
``metaloop.KIND`` that points to such a ``make``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic_core import PydanticCustomError

from programs.common.errors import NotFound, UsageError

Make = TypeVar("Make", bound=Callable[..., Any])
MAKES = re.compile(r"^(def make\(|make\b.*=)", re.MULTILINE)


class Registry(Generic[Make]):
    """The parts of a kind. ``takes``: the arguments that each ``make`` is called with. ``first``: names that lead, in
    their order, for what is drawn depends on it. ``joint`` stands in names for the underscores of modules. ``one``:
    what a single part is called."""

    def __init__(
        self, kind: str, package: str, takes: Sequence[str], first: Sequence[str] = (), *, joint: str = "-"
    ) -> None:
        self.kind, self.package, self.joint = kind, package, joint
        self.takes, self.first = tuple(takes), tuple(first)
        self.group, self.one = f"metaloop.{kind}", kind.removesuffix("s").replace("_", " ")

    @cached_property
    def built_in(self) -> tuple[str, ...]:
        """Found by their files: none is imported."""
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        files = [path for folder in folders or () for path in Path(folder).glob("[!_]*.py")]
        names = {path.stem.replace("_", self.joint) for path in files if MAKES.search(path.read_text("utf-8"))}
        return (*self.first, *sorted(names - set(self.first)))

    @property
    def points(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        """name → the entry points that installed packages add under it."""
        return _installed(self.group)

    @property
    def added(self) -> tuple[str, ...]:
        """By installed packages, but for names of our own."""
        return tuple(sorted(set(self.points) - set(self.built_in)))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.built_in, *self.added)

    def get(self, name: str) -> Make:
        """What makes the part of that name. Raises NotFound, or UsageError where a package's part cannot be used."""
        points, is_ours = self.points.get(name, ()), name in self.built_in
        packages = [*(["metaloop"] if is_ours else []), *map(_package, points)]
        if len(packages) > 1:
            raise UsageError(
                f"{' and '.join(packages)} both have a {self.one} {name!r}",
                hint=f"uninstall {packages[-1]}, or give its part another name",
            )
        if is_ours:
            return cast(Make, import_module(f"{self.package}.{name.replace(self.joint, '_')}").make)
        if points:
            return self._load(points[0])
        raise NotFound(f"no {self.one} {name!r}", hint=f"known are {', '.join(self.names)}")

    def problems(self) -> list[UsageError]:
        """Why parts that packages add cannot be used."""
        errors = []
        for name in sorted(self.points):
            try:
                self.get(name)
            except UsageError as error:
                errors.append(error)
        return errors

    def _load(self, point: EntryPoint) -> Make:
        what, hint = f"{self.one} {point.name!r} of {_package(point)}", f"mend or uninstall {_package(point)}"
        try:
            make = point.load()
        except Exception as error:  # whatever a stranger's module raises
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UsageError(f"{what} cannot be imported: {why}", hint=hint) from error
        try:
            inspect.signature(make).bind(*self.takes)
        except (TypeError, ValueError):
            message = f"{what}: {point.value} cannot be called with ({', '.join(self.takes)})"
            raise UsageError(message, hint=hint) from None
        return cast(Make, make)

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self.points

    def require(self, name: str) -> str:
        """The name of a part, for pydantic."""
        if name not in self:
            raise PydanticCustomError("part", "Input should be one of {names}", {"names": ", ".join(self.names)})
        return name


@cache
def _installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Name → entry points; the installed packages are looked through once per process."""
    points: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        points[point.name] = (*points.get(point.name, ()), point)
    return points


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
