"""What one Python file reads, calls and defines, with what is done to each name that it reads; nothing is run."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_PURE = {"int", "float", "str", "len", "max", "min", "round", "abs", "sum", "bool", "pow", "sorted", "tuple", "list"}
_LOGS = {"info", "debug", "warning", "warn", "error", "log", "log_params", "add_scalar", "add_text", "write", "print"}
_LOGGERS = re.compile(r"log|logger|logging|wandb|mlflow|writer|stdout|stderr|tqdm", re.IGNORECASE)
_PURE_METHODS = {"item", "time", "perf_counter", "process_time", "sqrt", "exp", "format", "join"}
_KEY_READERS = {"get", "pop", "setdefault", "getattr"}
_AT_RUN_TIME = {"globals", "locals", "exec", "eval", "getattr", "vars"}
_EXITS = {"exit", "quit", "_exit", "abort"}
MAIN = "if __name__"  # the part of a module that only runs where the module is the program


@dataclass(frozen=True)
class NameUse:
    """One place that reads a name. ``into``: the names that the value is assigned to, where nothing else is done with
    it; ``default``: of which parameter it is the default, (function, parameter); ``printed``, ``gates``: it only
    changes what is printed, or decides whether a result counts."""

    file: str
    line: int
    function: str = ""
    into: tuple[str, ...] = ()
    default: tuple[str, str] | None = None
    option: str = ""  # of which command-line option it is the default
    base: str = ""  # of an attribute or key: the name, attribute or key that it is read from
    key: str = ""  # of a name: the key or index that is read from it; empty where the whole is used
    printed: bool = False
    gates: bool = False


@dataclass(frozen=True)
class CallSite:
    file: str
    line: int
    function: str
    node: ast.Call

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class AttributeStore:
    """``of.NAME = …``, or as a key ``of["NAME"] = …``, outside of every branch and loop."""

    of: str
    file: str
    line: int
    function: str
    is_key: bool = False


@dataclass
class CodeFile:
    """What one file defines, reads and calls."""

    tree: ast.Module
    names: dict[str, list[NameUse]] = field(default_factory=lambda: defaultdict(list))
    locals: dict[str, list[NameUse]] = field(default_factory=lambda: defaultdict(list))
    attributes: dict[str, list[NameUse]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[str, list[NameUse]] = field(default_factory=lambda: defaultdict(list))  # read as ["x"] or .get("x")
    spreads: list[CallSite] = field(default_factory=list)  # calls with **
    words: set[str] = field(default_factory=set)  # its strings that are identifiers
    free_words: set[str] = field(default_factory=set)  # those that are no keys
    imported: dict[str, str] = field(default_factory=dict)  # name in the other module → name here
    calls: dict[str, list[CallSite]] = field(default_factory=lambda: defaultdict(list))
    stores: dict[str, list[AttributeStore]] = field(default_factory=lambda: defaultdict(list))
    makes_names: bool = False  # it reads names that are made at run time
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)


class CodeReader(ast.NodeVisitor):
    """Fills a `CodeFile` in one walk; its state is what the surrounding nodes say about a name that is read there."""

    def __init__(self, file: str, tree: ast.Module, metric: str) -> None:
        self.file, self.metric = file, metric
        self.module = CodeFile(tree)
        self.context = NameUse(file, 0)
        self.hidden: frozenset[str] = frozenset()  # names that are local here
        self.depth = 0  # of functions and classes
        self.branches = 0  # and loops around it
        self.loads: dict[str, list[int]] = defaultdict(list)  # the lines that read a name
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.loads[node.id].append(node.lineno)
        self.visit(tree)

    def _within(self, nodes: Iterable[ast.AST | None], **context: Any) -> None:
        before, self.context = self.context, replace(self.context, **context)
        for node in nodes:
            if node is not None:
                self.visit(node)
        self.context = before

    def visit_Import(self, node: ast.Import) -> None:
        self.module.imported |= {alias.name: alias.asname or alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.module.imported |= {alias.name: alias.asname or alias.name for alias in node.names}

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str = "") -> None:
        self._within(node.decorator_list)
        arguments = [*node.args.posonlyargs, *node.args.args]
        pairs = list(zip(arguments[len(arguments) - len(node.args.defaults) :], node.args.defaults, strict=True))
        pairs += [(one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
        for argument, value in pairs:
            self._within([value], default=(owner or node.name, argument.arg))
        if self.depth == 0:
            self.module.functions[node.name] = node
        before, self.hidden = self.hidden, self.hidden | _locals(node)
        self.depth += 1
        self._within(node.body, **({"function": node.name} if self.depth == 1 and not owner else {}))
        self.depth -= 1
        self.hidden = before

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within([*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)])
        if self.depth == 0:
            self.module.classes[node.name] = node
        self.depth += 1
        for one in node.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                self.visit_FunctionDef(one, node.name if one.name == "__init__" else f"{node.name}.{one.name}")
            else:
                self.visit(one)
        self.depth -= 1

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._within([node.target, node.value])

    def visit_If(self, node: ast.If) -> None:
        if self.depth == 0 and any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test)):
            self._within(node.body, function=MAIN)
            return
        quiet, ends = self._effect(node)
        self._within([node.test], **({"gates": True} if ends else {"printed": True} if quiet else {}))
        self._branch(ast.Module([*node.body, *node.orelse], []))

    def _branch(self, node: ast.AST) -> None:
        self.branches += 1
        self.generic_visit(node)
        self.branches -= 1

    visit_For = visit_While = visit_Try = visit_AsyncFor = _branch

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Attribute):
            self.module.attributes[node.target.attr].append(replace(self.context, line=node.lineno))
        self._within([node.value])

    def visit_Assert(self, node: ast.Assert) -> None:
        self._within([node.test, node.msg], gates=True)

    def visit_Assign(self, node: ast.Assign) -> None:
        targets = tuple(one.id for one in node.targets if isinstance(one, ast.Name))
        own = self.depth == 0 and len(targets) == len(node.targets) and _is_pure(node.value)
        self._within(node.targets)
        self._within([node.value], **({"into": targets} if own else {}))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a text alone is a docstring
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        line = node.lineno
        if name := last_name(node.func):
            self.module.calls[name].append(CallSite(self.file, line, self.context.function, node))
        if isinstance(node.func, ast.Name) and name in _AT_RUN_TIME:
            known = name == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            self.module.makes_names |= not known and not (name == "vars" and node.args)
        if any(keyword.arg is None for keyword in node.keywords):
            self.module.spreads.append(CallSite(self.file, line, self.context.function, node))
        if name in _KEY_READERS and self._reads_key(node):
            return
        if name == "add_argument":
            options = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            option = next((text.lstrip("-") for text in options if text.startswith("--")), "")
            for keyword in node.keywords:
                context = {"option": option} if keyword.arg == "default" and isinstance(keyword.value, ast.Name) else {}
                self._within([keyword.value] if keyword.arg not in ("help", "dest") else [], **context)
            return
        self.visit(node.func)
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        for value in values:
            if _is_log(node):
                self._printed(value, values)
            else:
                self.visit(value)

    def _reads_key(self, node: ast.Call) -> bool:
        """Whether it is ``of.get("key")`` or ``getattr(of, "key")``; then it is read."""
        first = node.args[0] if node.args else None
        if isinstance(node.func, ast.Attribute) and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._key(node.func.value, first.value, node.lineno)
            self._within(node.args[1:])
            return True
        name = node.args[1] if len(node.args) > 1 else None
        if first is None or not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            return False
        self._key(first, name.value, node.lineno)
        self.visit_Constant(name)
        self._within(node.args[2:])
        return True

    def _key(self, of: ast.expr, key: str, line: int) -> None:
        self.module.keys[key].append(replace(self.context, line=line, base=innermost(of)))
        self._of(of, key)
        self._word(key)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(key, str):
            if isinstance(node.ctx, ast.Load):
                self._key(node.value, key, node.lineno)
                return
            if not self.branches and isinstance(node.ctx, ast.Store):
                of = ast.unparse(node.value)
                self.module.stores[key].append(
                    AttributeStore(of, self.file, node.lineno, self.context.function, is_key=True)
                )
            self._word(key)
            self._of(node.value, key)
            return
        self._of(node.value, str(key) if isinstance(key, int) else "")
        self.visit(node.slice)

    def _of(self, node: ast.expr, key: str) -> None:
        """Visit what a key or an attribute is read from."""
        self._within([node], key=key if isinstance(node, ast.Name) else "")

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._word(key.value)
            elif key is not None:
                self.visit(key)
            self.visit(value)

    def _word(self, text: str) -> None:
        if re.fullmatch(r"[A-Za-z_]\w{0,60}", text):
            self.module.words.add(text)

    def _printed(self, value: ast.expr, together: Sequence[ast.expr]) -> None:
        """One argument of a call that prints: it matters only where it is, or may be, the metric."""
        if isinstance(value, ast.JoinedStr) and self.metric:
            before = ""
            for part in value.values:
                if isinstance(part, ast.Constant):
                    before += str(part.value)
                elif isinstance(part, ast.FormattedValue):
                    counts = self._names_metric(before) or not _is_pure(part.value)
                    self._within([part.value, part.format_spec], printed=not counts)
                    before = ""
            return
        texts = [
            one.value
            for whole in together
            for one in ast.walk(whole)
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        ]
        shown = bool(self.metric and texts) and not self._mentions(" ".join(texts)) and _is_pure(value)
        self._within([value], **({"printed": True} if shown else {}))

    def _names_metric(self, text: str) -> bool:
        return bool(re.search(rf"{re.escape(self.metric)}[^A-Za-z0-9]*$", text))

    def _mentions(self, text: str) -> bool:
        return not self.metric or self.metric in text

    def _effect(self, node: ast.If) -> tuple[bool, bool]:
        """(whether the branches only print, whether they end the run or print the metric and do nothing else)."""
        inside = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        ends = metric = False
        for statement in [*node.body, *node.orelse]:
            call = (
                statement.value if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) else None
            )
            if isinstance(statement, ast.Raise) or (call and last_name(call.func) in _EXITS):
                ends = True
            elif call and _is_log(call):
                texts = [one.value for one in ast.walk(call) if isinstance(one, ast.Constant)]
                metric = metric or self._mentions(" ".join(text for text in texts if isinstance(text, str)))
                if not _is_pure(ast.Tuple([*call.args, *(one.value for one in call.keywords)], ast.Load())):
                    return False, False
            elif isinstance(statement, ast.Assign) and _is_pure(statement.value):
                if any(not isinstance(one, ast.Name) or set(self.loads[one.id]) - inside for one in statement.targets):
                    return False, False
            elif not isinstance(statement, ast.Pass):
                return False, False
        now_and_then = any(isinstance(one, ast.Mod) for one in ast.walk(node.test))
        return not metric and not ends, (ends or metric) and not now_and_then

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            base = innermost(node.value)
            self.module.attributes[node.attr].append(replace(self.context, line=node.lineno, base=base))
        elif not self.branches:
            of = ast.unparse(node.value)
            self.module.stores[node.attr].append(AttributeStore(of, self.file, node.lineno, self.context.function))
        self._of(node.value, node.attr)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            table = self.module.locals if node.id in self.hidden else self.module.names
            table[node.id].append(replace(self.context, line=node.lineno))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._word(node.value)
            self.module.free_words |= {node.value} & self.module.words


def _locals(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The parameters and the names that a function assigns to, without those that it declares global."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    names = {one.arg for one in arguments if one is not None}
    inner = list(ast.walk(node))
    names |= {one.id for one in inner if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return names - {name for one in inner if isinstance(one, ast.Global) for name in one.names}


def _is_pure(node: ast.expr) -> bool:
    """Whether computing it does nothing else: its calls are known ones without effects."""
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
    return all(last_name(call.func) in (_PURE if isinstance(call.func, ast.Name) else _PURE_METHODS) for call in calls)


def _is_log(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in ("print", "pprint")
    name = last_name(call.func)
    return name in _LOGS and bool(
        _LOGGERS.fullmatch(last_name(call.func.value) if isinstance(call.func, ast.Attribute) else "")
    )


def innermost(node: ast.expr) -> str:
    """``optim`` of ``cfg.optim``, ``cfg["optim"]`` and ``cfg.get("optim")``; of a name, the name."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    if isinstance(node, ast.Call) and last_name(node.func) == "get" and node.args:
        return str(node.args[0].value) if isinstance(node.args[0], ast.Constant) else ""
    return last_name(node)


def last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
