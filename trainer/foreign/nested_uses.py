"""Whether a value inside a file (`trainer.nested_values`) can change a result, by the syntax trees of the code that the
command reaches: a field, a default, an option, an entry, a number in a call, a key of a config file; nothing is run.

A value is left out where another one is used in its place: every call, a later line, a config file or the command sets
it. What cannot be seen to be used or unused is left out, too, with that reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from trainer import config_values, nested_values
from trainer.foreign.repository import ForeignRepository
from trainer.foreign.syntax import CallSite, CodeFile, NameUse, innermost
from trainer.foreign.uses import CodeUses
from trainer.nested_values import NestedValue

_ALL_ENTRIES = {"items", "values", "keys", "copy"}
_COMMAND_LINES = {
    "run",
    "Fire",
    "cli",
    "command",
    "auto_cli",
    "main",
    "parse",
}  # typer.run(f), fire.Fire(f), tyro.cli(f)
_LOADED = re.compile(r"(?:^|_)(?:cfg|conf|config|args|opts?|options|params|hparams|settings|hp)$", re.IGNORECASE)
_SCORING = re.compile(
    r"(?:^|[._])(?:eval\w*|valid\w*|val|dev|test\w*|score|scoring|scorer|metrics?|holdout|benchmark)(?:[._]|$)", re.I
)
DEPENDS = "the score may depend on it"
_STORED_KEYS = 8  # most depth of an address that is looked into


class NestedUses:
    """Judges one repository's values."""

    def __init__(self, repository: ForeignRepository, uses: CodeUses) -> None:
        self.repository, self.uses = repository, uses

    def why_not(self, file: str, address: str, one: NestedValue) -> str:
        """Why the value is not offered; empty if it is."""
        if _SCORING.search(one.owner):
            return f"{DEPENDS}: it belongs to {one.owner}"
        if one.kind == "key":
            return self._key(file, address, one)
        module = self.uses.modules.get(file)
        if module is None:
            return "the command does not reach this file" if self.uses.is_complete else "not every file could be read"
        name = word(address, one)
        if one.kind == "product":
            return self.uses.constant(file, name)
        if one.kind == "field":
            return self._field(file, one, name)
        if one.kind == "option":
            return self._option(module, one, address)
        if one.kind == "default":
            return self._default(file, module, one, name)
        return self._entry(file, module, one, address) if one.kind == "entry" else self._call(module, one, name)

    # Python

    def _field(self, file: str, one: NestedValue, name: str) -> str:
        return (
            (self._set_from_outside(name) if not self._declares(name) else "")
            or self._spread(one.owner, name)
            or self.uses.config_field(file, one.line, name)
        )

    def _declares(self, name: str) -> bool:
        """Whether an option of that name is declared, which only sets what the code hands on."""
        options = (f"--{name}", f"--{name.replace('_', '-')}")
        texts = (self.repository.text(file) for file in self.uses.modules)
        return any(f'"{option}"' in text or f"'{option}'" in text for text in texts for option in options)

    def _set_from_outside(self, name: str) -> str:
        """Where the command sets it: ``--lr 0.1``, ``--optim.lr=0.1``, or ``optim.lr=0.1`` as for hydra."""
        if said := self.uses.set_by_command(name):
            return said
        form = re.compile(rf"\s(?:--|\+{{0,2}})(?:[\w.]+\.)?{re.escape(name)}=\S")
        line = next((line for line in self.uses.lines if form.search(line.text)), None)
        return f"{line.where if line.number else 'the command'} sets {name}" if line else ""

    def _spread(self, function: str, name: str) -> str:
        """Where a config file that the command reads has the key, if a call passes its keys on with ``**``."""
        sites = (site for module in self.uses.modules.values() for site in module.spreads)
        passed = any(innermost(site.node.func) in (function, "set_defaults", "update") for site in sites)
        where = self._config_keys.get(name) if passed else None
        return f"{where} sets it" if where else ""

    def _option(self, module: CodeFile, one: NestedValue, address: str) -> str:
        name = address.split("[")[0].lstrip("-")
        if one.owner == "add_argument":
            return self.uses.option(name) or self._spread("set_defaults", name.replace("-", "_"))
        if said := self.uses.set_by_command(name):
            return said
        for function in module.functions.values():  # a decorator: the option is a parameter
            spans = (range(node.lineno, (node.end_lineno or 0) + 1) for node in function.decorator_list)
            if any(one.line in span for span in spans):
                return self._parameter(module, function, name.replace("-", "_"))
        return self.uses.attribute(name.replace("-", "_"))

    def _default(self, file: str, module: CodeFile, one: NestedValue, name: str) -> str:
        node = _function(module, one.owner)
        if node is None:
            return "its function was not found"
        owner, _, method = one.owner.partition(".")
        called = owner if method in ("", "__init__") else method
        if not method and (file, owner) not in self.uses.live:
            return f"only code that never runs uses it ({file}:{node.lineno})"
        if method and method != called and not self._is_named(owner):
            return "its class is used nowhere"
        if method == called and not method.startswith("__") and not self._is_named(method):
            return "its function is called nowhere"
        if self._is_command_line(module, node, owner) and (said := self._set_from_outside(name)):
            return said
        site = self.uses.setting(called, name) if method in ("", "__init__") else self._set_by_all(method, node, name)
        if site is not None:
            return f"{site.where} sets {name}"
        return self._spread(called, name) or self._parameter(module, node, name)

    def _is_command_line(self, module: CodeFile, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
        """Whether typer, fire and the like make options of a function's parameters."""
        sites = (site for callee in _COMMAND_LINES for site in module.calls.get(callee, ()))
        passed = (argument for site in sites for argument in site.node.args)
        return bool(node.decorator_list) or any(isinstance(one, ast.Name) and one.id == name for one in passed)

    def _is_named(self, name: str) -> bool:
        return any(
            name in table
            for module in self.uses.modules.values()
            for table in (module.names, module.locals, module.attributes, module.calls)
        )

    def _set_by_all(self, method: str, node: ast.FunctionDef | ast.AsyncFunctionDef, parameter: str) -> CallSite | None:
        """The first call of a method, if all calls of something of that name set the parameter."""
        order = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)][1:]
        sites = [site for module in self.uses.modules.values() for site in module.calls.get(method, ())]
        for site in sites:
            by_name = any(keyword.arg == parameter for keyword in site.node.keywords)
            if not by_name and (parameter not in order or order.index(parameter) >= len(site.node.args)):
                return None
        return sites[0] if sites else None

    def _parameter(self, module: CodeFile, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
        """Why a parameter's value changes nothing: not read, only printed, or only stored where nothing reads it."""
        first, last = node.body[0].lineno, node.end_lineno or node.lineno
        uses = [use for use in module.locals.get(name, ()) if first <= use.line <= last]
        if not uses:
            return "used nowhere"
        stored = [one.targets[0].attr for one in ast.walk(node) if isinstance(one, ast.Assign)
                  and isinstance(one.value, ast.Name) and one.value.id == name
                  and len(one.targets) == 1 and isinstance(one.targets[0], ast.Attribute)]  # fmt: skip
        if len(stored) == len(uses):
            reasons = [self.uses.attribute(attribute) for attribute in stored]
            return reasons[0] if all(reasons) else ""
        return _of_flags(uses)

    def _entry(self, file: str, module: CodeFile, one: NestedValue, address: str) -> str:
        """An entry of a dict or tuple at the top level."""
        keys = re.findall(r"\[([^\]]*)\]", address)[:_STORED_KEYS]
        if not one.owner:
            return ""
        for store in (store for key in keys for store in module.stores.get(key, ())):
            if re.split(r"[.\[]", store.of)[0] == one.owner and (store.file, store.function) in self.uses.live:
                return f"{store.file}:{store.line} sets it"
        if changed := self._updated(one.owner, keys[-1]):
            return changed
        uses = self.uses.of_constant(file, one.owner)
        live = [use for use in uses if (use.file, use.function) in self.uses.live]
        if not live:
            return "used nowhere" if not uses else f"only code that never runs uses it ({uses[0].file}:{uses[0].line})"
        own = [use for use in live if use.key == keys[0]]
        whole = [use for use in live if not use.key or use.key in _ALL_ENTRIES | {"update"}]
        if len(keys) > 1 and not keys[-1].isdigit():
            inner = self._reads(keys[-1])
            own = inner if own or whole else []
        if own:
            return _of_flags(own)
        if not whole:
            return f"no code reads {address}"
        if keys[0].isdigit() or any(use.key in _ALL_ENTRIES for use in whole):
            return _of_flags(whole)
        other_reads = self._reads(keys[-1])
        return _of_flags(other_reads) if other_reads else f"no code that runs reads {keys[-1]!r}"

    def _updated(self, owner: str, key: str) -> str:
        """Where ``OWNER.update(…)`` sets an entry, or may."""
        for site in (site for module in self.uses.modules.values() for site in module.calls.get("update", ())):
            node = site.node
            if not isinstance(node.func, ast.Attribute) or innermost(node.func.value) != owner:
                continue
            given: list[object] = [keyword.arg for keyword in node.keywords]
            for argument in node.args:
                if isinstance(argument, ast.Dict):
                    given += [one.value if isinstance(one, ast.Constant) else None for one in argument.keys]
                else:
                    given.append(None)
            if key in given:
                return f"{site.where} sets it: {owner}.update(…)"
            if None in given:
                return f"{site.where} may set it: {owner}.update(…)"
        return ""

    def _reads(self, name: str) -> list[NameUse]:
        """What code that runs reads under a name, as an attribute or a key; parameters too, if a dict is spread."""
        tables = [(module.attributes, module.keys) for module in self.uses.modules.values()]
        uses = [use for pair in tables for table in pair for use in table.get(name, ())]
        if self.uses.makes_names or any(module.spreads for module in self.uses.modules.values()):
            uses += [
                use
                for module in self.uses.modules.values()
                for table in (module.names, module.locals)
                for use in table.get(name, ())
            ]
        return [use for use in uses if (use.file, use.function) in self.uses.live]

    def _call(self, module: CodeFile, one: NestedValue, name: str) -> str:
        """A number in a call: of the repository's own code, or of an optimizer and the like of a library."""
        sites = [site for site in module.calls.get(one.owner, ()) if any(k.arg == name for k in site.node.keywords)]
        sites = [site for site in sites if site.line <= one.line <= (site.node.end_lineno or 0)]
        if not sites or (sites[0].file, sites[0].function) not in self.uses.live:
            return "only code that never runs has it"
        own = self.uses.parameters(one.owner)
        if own is None or name not in own:
            return (
                "" if is_known_call(one.owner, name) else "a number in a call of a library: what it does is not known"
            )
        for other in self.uses.modules.values():
            if (node := _function(other, one.owner)) is not None:
                return self._parameter(other, node, name)
        return self.uses.attribute(name)

    # config files

    @cached_property
    def _configs(self) -> dict[str, str]:
        """The config files that the command or code that it reaches names, each with the reason."""
        known = [name for name in self.repository.files if name.endswith(config_values.KINDS)]
        said: dict[str, str] = {}
        strings = {
            one.value
            for module in self.uses.modules.values()
            for one in ast.walk(module.tree)
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        }
        folders = {text.strip("./") for text in strings}
        for name in known:
            folder, _, base = name.rpartition("/")
            stem = base.rpartition(".")[0]
            by_hydra = stem in strings and folder.rpartition("/")[2] in {text.rpartition("/")[2] for text in folders}
            in_code = any(text in (base, name) or text.endswith(f"/{base}") for text in strings)
            if re.search(rf"(?<![\w.-]){re.escape(base)}(?![\w-])", self.uses.command) or in_code or by_hydra:
                said[name] = "named"
        for name in list(said):  # groups of hydra: `defaults: [model: small]` is model/small.yaml beside it
            text, folder = self.repository.text(name), name.rpartition("/")[0]
            for group, choice in re.findall(r"^\s*-\s*(?:override\s+)?/?([\w/]+)\s*:\s*([\w-]+)", text, re.MULTILINE):
                for ending in (".yaml", ".yml"):
                    if (other := f"{folder}/{group}/{choice}{ending}".lstrip("/")) in known:
                        said[other] = f"named by {name}"
        return said

    @cached_property
    def _config_keys(self) -> dict[str, str]:
        """Key of a config file that the command reads → its place."""
        keys_by_name: dict[str, str] = {}
        for file in self._configs:
            for address, one in nested_values.read(file, self.repository.text(file)).items():
                keys_by_name.setdefault(word(address, one), f"{file}:{one.line}")
        return keys_by_name

    def _key(self, file: str, address: str, one: NestedValue) -> str:
        if not self.uses.started or not self.uses.is_complete:
            return self._key_by_words(file, one)
        if file not in self._configs:
            return f"no code that the command reaches names {file.rpartition('/')[2]}"
        if said := self._set_by_command(address):
            return said
        name = word(address, one)
        parts = re.sub(r"\[\d+\]", "", address).split(".")
        read = nested_values.read(file, self.repository.text(file)).values()
        others = {part for entry in read for part in entry.owner.split(".")} - {"", *parts[:-1]}
        for module in self.uses.modules.values():
            for store in module.stores.get(name, ()):
                of = re.sub(r"""^.*[.\[]["']?|["']?\]$""", "", store.of)
                ours = store.is_key or _LOADED.search(of) or of in parts
                if ours and of not in others and (store.file, store.function) in self.uses.live:
                    return f"{store.file}:{store.line} sets it"
        uses = [use for use in self._reads(name) if use.base not in others]
        if uses:
            return self._through_class(name) or _of_flags(uses)
        free = any(name in module.free_words for module in self.uses.modules.values())
        return "" if free else f"no code that runs reads {address}"

    def _through_class(self, name: str) -> str:
        """Of a key that ``**`` makes a field and that is read nowhere else: why the field changes nothing."""
        if any(name in module.keys for module in self.uses.modules.values()):
            return ""
        owners = {innermost(site.node.func) for module in self.uses.modules.values() for site in module.spreads}
        fields = any(name in (self.uses.parameters(owner) or ()) for owner in owners)
        return self.uses.attribute(name) if fields else ""

    def _set_by_command(self, address: str) -> str:
        form = re.compile(rf"\s(?:--|\+{{0,2}}){re.escape(address)}[= ]\S")
        line = next((line for line in self.uses.lines if form.search(line.text)), None)
        if line is not None:
            return f"{line.where if line.number else 'the command'} sets {address}"
        return self.uses.set_by_command(address.rpartition(".")[2])

    def _key_by_words(self, file: str, one: NestedValue) -> str:
        """Of a program in another language: whether its code has the file's name and the key, as whole words."""
        code = [name for name in self.repository.code if not name.endswith((*config_values.KINDS, ".lock", ".ipynb"))]
        text = "\n".join([self.uses.command, *map(self.repository.text, code)])
        if file.rpartition("/")[2] not in text:
            return f"no code names {file.rpartition('/')[2]}"
        return "" if re.search(rf"(?<![\w-]){re.escape(one.name)}(?![\w-])", text) else "used nowhere"


def word(address: str, one: NestedValue) -> str:
    """The name as the code has it: ``betas`` for ``Config.betas[0]``."""
    is_indexed = one.kind != "key" and re.search(r"\[\d+\]$", address)
    return re.sub(r"_\d+$", "", one.name) if is_indexed else one.name


_OPTIMIZERS = re.compile(
    r"SGD|\w*Adam\w*|RMSprop|Adagrad|Adadelta|Adafactor|Lion|Muon|LAMB|Shampoo|SOAP|Sophia\w*", re.I
)
_OF_OPTIMIZERS = {"lr", "learning_rate", "momentum", "betas", "beta1", "beta2", "b1", "b2", "weight_decay", "eps"}
_OF_OTHERS = (
    (re.compile(r"Dropout\w*", re.I), {"p", "rate"}),
    (re.compile(r"clip_grad_norm_?|clip_by_global_norm", re.I), {"max_norm"}),
    (re.compile(r"\w*cross_?entropy\w*", re.I), {"label_smoothing"}),
)


def is_known_call(function: str, keyword: str) -> bool:
    """Whether a number in a call of a library is a knob whose meaning is certain."""
    if _OPTIMIZERS.fullmatch(function):
        return keyword in _OF_OPTIMIZERS
    return any(form.fullmatch(function) and keyword in names for form, names in _OF_OTHERS)


def _of_flags(uses: Sequence[NameUse]) -> str:
    """Why these uses change no result; empty if one may."""
    reasons = [
        f"it decides whether a result counts ({use.file}:{use.line})"
        if use.gates
        else f"it only changes what is printed ({use.file}:{use.line})"
        if use.printed
        else ""
        for use in uses
    ]
    return reasons[0] if reasons and all(reasons) else ""


def _function(module: CodeFile, owner: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """A function or method by ``f`` or ``Class.f``; of a class, its ``__init__``."""
    name, _, method = owner.partition(".")
    if not method and name in module.functions:
        return module.functions[name]
    return next(_methods(module, name, method or "__init__"), None)


def _methods(module: CodeFile, name: str, method: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    body = module.classes[name].body if name in module.classes else []
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == method:
            yield one
