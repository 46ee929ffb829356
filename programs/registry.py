"""Exchangeable parts by name: those of our own folders, and those that installed packages add.

A kind of part has a package of its own. Each of its modules is one part, named as the module (``write_ideas.py`` is
``write-ideas``), and what makes the part is the module's ``make``; a module that begins with an underscore is none. A
package adds a part by an entry point of the group ``metaloop.KIND`` that points to such a ``make``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeVar, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from programs.errors import NotFound

Make = TypeVar("Make", bound=Callable[..., Any])


class Registry(Generic[Make]):
    """The parts of a kind. ``first``: names that lead, in their order, for what is drawn depends on it; with ``only``
    the package has no further parts, but modules that serve them. ``joint`` stands in names for the underscores of
    modules.

    As metadata of a pydantic field it admits the names of its parts.
    """

    def __init__(
        self, kind: str, package: str, first: Sequence[str] = (), *, only: bool = False, joint: str = "-"
    ) -> None:
        self.kind, self.package, self.first, self.only, self.joint = kind, package, tuple(first), only, joint

    @property
    def group(self) -> str:
        return f"metaloop.{self.kind}"

    @cached_property
    def built_in(self) -> tuple[str, ...]:
        """Found by their files: none is imported."""
        if self.only:
            return self.first
        spec = find_spec(self.package)
        places = spec.submodule_search_locations if spec else None
        names = [
            module.name.replace("_", self.joint) for module in pkgutil.iter_modules(places) if module.name[0] != "_"
        ]
        return (*self.first, *sorted(set(names) - set(self.first)))

    @cached_property
    def added(self) -> tuple[str, ...]:
        """By installed packages; a name of our own cannot be taken over."""
        return tuple(sorted({point.name for point in entry_points(group=self.group)} - set(self.built_in)))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.built_in, *self.added)

    def get(self, name: str) -> Make:
        """What makes the part of that name. Raises NotFound."""
        if name in self.built_in:
            return cast(Make, import_module(f"{self.package}.{name.replace(self.joint, '_')}").make)
        if name in self.added:
            (point, *_) = entry_points(group=self.group, name=name)
            return cast(Make, point.load())
        one = self.kind.removesuffix("s").replace("_", " ")
        raise NotFound(f"no {one} {name!r}", hint=f"known are {', '.join(self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self.added

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        if name not in self:
            *others, last = (f"'{known}'" for known in self.names)
            names = f"{', '.join(others)} or {last}" if others else last
            raise PydanticCustomError("literal_error", "Input should be {names}", {"names": names})
        return name
