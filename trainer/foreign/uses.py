"""Which constants of a repository's Python code can change a result, by its syntax trees; nothing is run.

A constant is dead if no code that the command reaches reads it, if what reads it only prints, if every call sets the
parameter or field whose default it is, or if it is assigned again. What the trees do not show (names made at run time,
code that is no Python) counts as a use: a constant is called dead only where no use of it can be seen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from trainer.constants import syntax_tree
from trainer.foreign.commands import expanded, scripts_of
from trainer.foreign.repository import ForeignRepository
from trainer.foreign.syntax import MAIN, CallSite, CodeReader, NameUse, last_name

NOT_CODE = re.compile(r"\.(?:md|rst|txt|ipynb|csv|tsv|svg|lock)$", re.IGNORECASE)
_TESTS = re.compile(r"(?:^|/)(?:tests?/.*|test_[^/]*|[^/]*_test|conftest)\.py$")
_ALL_FIELDS = {"vars", "asdict", "astuple", "fields", "__dict__", "_asdict"}
_SCORING = r"(?:val|valid|validation|test|eval|dev|holdout|heldout)"
_DATA = (
    r"(?:x|y|xs|ys|xy|data|dataset|set|split|rows?|inputs?|targets?|labels?|images?|ids|tokens?|text|points?|samples?"
    r"|examples?|cases|pairs)"
)
_VALIDATION = re.compile(  # val_x, X_test, eval_data2; not final_val, val_loss or eval_model
    rf"(?:{_SCORING}_?{_DATA}|{_DATA}_?{_SCORING})(?:_{_DATA})?_?\d*", re.IGNORECASE
)
_SPLIT = re.compile(rf"train|{_SCORING}")  # train, val = …
_TRAINS = re.compile(  # a function whose result is a model or a score, whatever it is called there
    r"_?(?:train|training|fit|run|main|eval|evaluate|score|predict|learn)"
    r"(?:_(?:and|train|fit|eval|evaluate|score|predict|model|net|loop|epochs?|steps?|once))*",
    re.IGNORECASE,
)
_SEEDS = {"seed", "rng"}
Function = tuple[str, str]  # file and name of a function at the top level, or MAIN; "" for the module's own code


class CodeUses:
    """The uses of names in the Python files that the command reaches, all of them if that cannot be seen."""

    def __init__(self, repository: ForeignRepository, command: str = "", metric: str = "") -> None:
        self.repository = repository
        self.lines = expanded(command, repository) if command else []
        self.command = "\n".join(line.text for line in self.lines)
        files = [name for name in repository.code if name.endswith(".py") and not _TESTS.search(name)]
        trees = {name: tree for name in files if (tree := syntax_tree(repository.text(name))) is not None}
        self.is_complete = len(trees) == len(files)
        self.started = _started(self.command, trees)
        self.reached = set(_reached(self.started, trees) if self.started else trees)
        self.modules = {
            name: CodeReader(name, tree, metric).module for name, tree in trees.items() if name in self.reached
        }
        called = {name for module in self.modules.values() for name in module.calls}
        self.makes_names = any(module.makes_names for module in self.modules.values())
        seen = {name for module in self.modules.values() for name in module.attributes}
        self.reads_all_fields = bool((called | seen) & _ALL_FIELDS)

    @cached_property
    def _other_words(self) -> set[str]:
        """The words of the command and of code that is no Python, which may name a function."""
        other = [name for name in self.repository.code if not name.endswith(".py") and not NOT_CODE.search(name)]
        text = " ".join([self.command, *map(self.repository.text, other)])
        return set(re.findall(r"[A-Za-z_]\w*", text)) | self._strings

    @cached_property
    def _strings(self) -> set[str]:
        return set().union(*(module.words for module in self.modules.values()))

    @cached_property
    def live(self) -> set[Function]:
        """The functions that the module's own code calls, or may call, directly or through others."""
        live: set[Function] = {(file, "") for file in self.modules}
        live |= {(file, MAIN) for file in self.modules if file in self.started or not self.started}
        waiting = {
            (file, name): function
            for file, module in self.modules.items()
            for name, function in module.functions.items()
        }
        for key, function in list(waiting.items()):
            if function.decorator_list or key[1] in self._other_words or not self.started:
                live.add(key)
        while fresh := [key for key in waiting if key not in live and self._is_named(key[1], live)]:
            live |= set(fresh)
        return live

    def _is_named(self, name: str, live: set[Function]) -> bool:
        uses = (
            use
            for module in self.modules.values()
            for table in (module.names, module.attributes)
            for use in table.get(name, ())
        )
        return any((use.file, use.function) in live and use.function != name for use in uses)

    def constant(self, file: str, name: str) -> str:
        """Why a constant at the top level of ``file`` changes no result; empty if it may."""
        module = self.modules.get(file)
        if module is None or self.makes_names or not self.is_complete or name in self._strings:
            return ""
        stem = file.rpartition("/")[2].removesuffix(".py")
        if stored := self._stored(name, lambda of: of.rpartition(".")[2] == stem):
            return stored
        return self.judged(self.of_constant(file, name), {(file, name)})

    def of_constant(self, file: str, name: str) -> list[NameUse]:
        uses = list(self.modules[file].names.get(name, ()))
        for other, module in self.modules.items():
            uses += module.attributes.get(name, ())
            if other != file and ("*" in module.imported or name in module.imported):
                uses += module.names.get(module.imported.get(name, name), ())
        return uses

    def made_for_scoring(self, file: str, name: str) -> str:
        """Where validation data are made with a constant, from nothing but constants and a seed; empty if nowhere. Data
        that are given, a loader's batches or a model's output are another thing: there the constant is the
        researcher's. So it is in a call without arguments, which does not show what it works on."""
        if file not in self.modules:
            return ""
        makers = {use.function for use in self.of_constant(file, name)} - {"", MAIN}
        for other, module in self.modules.items():
            for node in ast.walk(module.tree):
                if not isinstance(node, ast.Assign) or not (made := _scored(node)):
                    continue
                for call in _made(node):
                    given = {one.id for one in ast.walk(call) if isinstance(one, ast.Name)} - {last_name(call.func)}
                    if not (call.args or call.keywords) or _TRAINS.fullmatch(last_name(call.func) or ""):
                        continue
                    constants = all(one.isupper() or one in _SEEDS for one in given)
                    if constants and (name in given or last_name(call.func) in makers):
                        return f"{other}:{call.lineno} makes {made} with it"
        return ""

    def attribute(self, name: str) -> str:
        """Why a field or an option of this name changes no result; empty if it may."""
        if self.makes_names or not self.is_complete or name in self._strings:
            return ""
        uses = [use for module in self.modules.values() for use in module.attributes.get(name, ())]
        if self.reads_all_fields:
            uses += [use for module in self.modules.values() for use in module.names.get(name, ())]
            uses += [use for module in self.modules.values() for use in module.locals.get(name, ())]
        return self.judged(uses, set())

    def judged(self, uses: Sequence[NameUse], seen: set[Function]) -> str:
        """Why these uses change no result, empty if one does."""
        live = [use for use in uses if (use.file, use.function) in self.live]
        if not live:
            return "used nowhere" if not uses else f"only code that never runs uses it ({uses[0].file}:{uses[0].line})"
        reasons = [self._of_use(use, seen) for use in live]
        if not all(reasons):
            return ""
        gates = [reason for use, reason in zip(live, reasons, strict=True) if use.gates]
        return gates[0] if gates else reasons[0]

    def _of_use(self, use: NameUse, seen: set[Function]) -> str:
        where = f"{use.file}:{use.line}"
        if use.gates:
            return f"it decides whether a result counts ({where})"
        if use.printed:
            return f"it only changes what is printed ({where})"
        if use.option:
            return self.option(use.option)
        if use.default is not None:
            set_by = self.setting(*use.default)
            return f"{set_by.where} sets {use.default[1]}" if set_by else ""
        if use.into and not use.function:
            onward = [(use.file, name) for name in use.into if (use.file, name) not in seen]
            reasons = [self.judged(self.of_constant(*key), seen | {key}) for key in onward]
            return f"only {use.into[0]} depends on it: {reasons[0]}" if reasons and all(reasons) else ""
        return ""

    def setting(self, function: str, parameter: str) -> CallSite | None:
        """The first call that sets a parameter, or a field, if every call in code that runs does; else None."""
        order = self.parameters(function)
        sites = [
            site
            for module in self.modules.values()
            for site in module.calls.get(function, ())
            if (site.file, site.function) in self.live
        ]
        if order is None or not sites or not all(_sets(site.node, parameter, order) for site in sites):
            return None
        named = sum(
            len(module.names.get(function, ())) + len(module.attributes.get(function, ()))
            for module in self.modules.values()
        )
        calls = sum(len(module.calls.get(function, ())) for module in self.modules.values())
        return sites[0] if named <= calls else None  # passed on as a value, it may be called anywhere

    def parameters(self, name: str) -> list[str] | None:
        """The parameters of the one function, or the fields of the one class, of this name; None if there are more."""
        both = ((module.functions.get(name), module.classes.get(name)) for module in self.modules.values())
        nodes = [node for pair in both for node in pair if node is not None]
        if len(nodes) != 1:
            return None
        if not isinstance(node := nodes[0], ast.ClassDef):
            return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        first = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        if first is not None:
            return [argument.arg for argument in first.args.args[1:]]
        return [
            one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        ]

    def config_field(self, file: str, line: int, name: str) -> str:
        """Why the default of a class's field, defined at that line, changes no result; empty if it may."""
        module = self.modules.get(file)
        classes = module.classes.values() if module else ()
        owner = next((one for one in classes if one.lineno <= line <= (one.end_lineno or 0)), None)
        if owner is None:
            return ""
        if reason := self.attribute(name):
            return reason
        if (site := self.setting(owner.name, name)) is not None:
            return f"{site.where} sets it: {owner.name}({name}=…)"
        instances = {variable for module in self.modules.values() for variable in _assigned(module.tree, owner.name)}
        return self._stored(name, instances.__contains__)

    def _stored(self, name: str, is_owner: Callable[[str], bool]) -> str:
        """Where code that runs sets this attribute of a module or an instance, in every run; empty if nowhere."""
        every = (store for module in self.modules.values() for store in module.stores.get(name, ()))
        live = (store for store in every if is_owner(store.of) and (store.file, store.function) in self.live)
        return next((f"{store.file}:{store.line} sets it" for store in live), "")

    def option(self, name: str) -> str:
        """Why the default of a command-line option changes no result; empty if it may."""
        plain = name.replace("-", "_")
        return self.set_by_command(name) or self.set_by_defaults(plain) or self.attribute(plain)

    def set_by_command(self, *names: str) -> str:
        """Where the command gives an option of one of these names a value; empty if it does not."""
        either = "|".join(re.escape(name).replace("_", "[-_]").replace(r"\-", "[-_]") for name in names)
        option = re.compile(rf"(?:^|\s)--({either})(?:[=\s]|$)")
        hits = ((line, option.search(line.text)) for line in self.lines)
        return next(
            (f"{line.where if line.number else 'the command'} sets --{hit[1]}" for line, hit in hits if hit), ""
        )

    def set_by_defaults(self, keyword: str) -> str:
        """The first call of set_defaults with this keyword, in code that runs."""
        sites = (site for module in self.modules.values() for site in module.calls.get("set_defaults", ()))
        sets = (site for site in sites if any(one.arg == keyword for one in site.node.keywords))
        live = (site for site in sets if (site.file, site.function) in self.live)
        return next((f"{site.where} sets it: set_defaults({keyword}=…)" for site in live), "")


def _started(command: str, trees: dict[str, ast.Module]) -> set[str]:
    """The Python files that the command names, as files or with -m."""
    repository = ForeignRepository.__new__(ForeignRepository)
    object.__setattr__(repository, "files", dict.fromkeys(trees, (0, False)))
    named = set(scripts_of(command, repository))
    for module in re.findall(r"\s-m\s+([\w.]+)", command):
        path = module.replace(".", "/")
        named |= {name for name in trees if f"/{name}".endswith((f"/{path}.py", f"/{path}/__main__.py"))}
    return named


def _reached(started: set[str], trees: dict[str, ast.Module]) -> Iterator[str]:
    """The files that these import or name in a string, directly or through others."""
    waiting, seen = list(started), set(started)
    while waiting:
        name = waiting.pop()
        yield name
        wanted: set[str] = set()
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                wanted |= {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                wanted |= {
                    word.removesuffix(".py").replace("/", ".") for word in re.findall(r"[\w./]+\.py", node.value)
                }
                wanted |= {node.value} if re.fullmatch(r"[A-Za-z_][\w.]*", node.value) else set()
        parts = (part.strip(".").split(".") for part in wanted if part.strip("."))
        paths = {"/".join(words[:count]) for words in parts for count in range(1, len(words) + 1)}
        for other in trees:
            stem = other.removesuffix(".py").removesuffix("/__init__")
            if other not in seen and any(stem == path or stem.endswith(f"/{path}") for path in paths):
                seen.add(other)
                waiting.append(other)


def _sets(call: ast.Call, parameter: str, order: Sequence[str]) -> bool:
    """Whether a call certainly sets a parameter. One with * may not."""
    if any(keyword.arg == parameter for keyword in call.keywords):
        return True
    plain = not any(isinstance(argument, ast.Starred) for argument in call.args)
    return plain and parameter in order and order.index(parameter) < len(call.args)


def _scored(node: ast.Assign) -> str:
    """The first of the names assigned that is one of validation data; empty if none is."""
    names = [one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)]
    if len(names) > 1 and all(_SPLIT.fullmatch(name) for name in names):
        return next((name for name in names if name != "train"), "")
    return next((name for name in names if _VALIDATION.fullmatch(name)), "")


def _made(node: ast.Assign) -> list[ast.Call]:
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    return [value for value in values if isinstance(value, ast.Call)]


def _assigned(tree: ast.Module, owner: str) -> set[str]:
    """The variables that hold an instance of a class."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and last_name(node.value.func) == owner
        for target in node.targets
        if isinstance(target, ast.Name)
    }
