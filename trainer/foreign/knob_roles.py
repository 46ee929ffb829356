"""What a constant of a foreign repository is (its role, by its name), and which values are worth a try: those of its
role, those that the owner's prose names, and for a string those that the code compares it with.

A wrong role is worse than none, because ideas that were learnt elsewhere follow it: a name counts as a whole.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from trainer.foreign.nested_uses import is_known_call
from trainer.foreign.repository import ForeignRepository
from trainer.foreign.syntax import innermost, last_name
from trainer.foreign.uses import CodeUses
from trainer.nested_values import NestedValue

_NUMBERS = {  # role → names of a number, in lower case, words joined by _
    "learning_rate": "lr learning_rate base_lr max_lr peak_lr init_lr initial_lr learningrate eta step_size lr0",
    "momentum": "momentum sgd_momentum heavy_ball",
    "first_moment": "beta1 beta_1 adam_beta1 b1",
    "second_moment": "beta2 beta_2 adam_beta2 b2",
    "weight_decay": "weight_decay wd decay_weight l2 l2_penalty",
    "update_floor": "eps epsilon adam_eps adam_epsilon",
    "gradient_clip": "grad_clip clip_grad clip_norm max_grad_norm gradient_clip clip grad_clip_norm",
    "batch_size": "batch_size batch bs train_batch_size batchsize minibatch minibatch_size",
    "width": "width hidden hidden_size hidden_dim n_hidden d_model n_embd model_dim hidden_units units channels dim",
    "depth": "depth layers n_layer n_layers num_layers blocks n_blocks num_blocks",
    "heads": "heads n_head n_heads num_heads",
    "head_width": "head_dim head_width",
    "kernel_size": "kernel_size",
    "dropout": "dropout drop p_drop dropout_rate dropout_p drop_rate",
    "init_scale": "init_scale init_std init_gain",
    "context_length": "seq_len context_length context max_seq_len sequence_length block_len",
    "label_smoothing": "label_smoothing label_smooth",
    "hidden_factor": "mlp_ratio expansion ff_mult mlp_mult hidden_factor",
}
_SHARES = {  # of the budget: a number of steps is another thing
    "schedule_warmup": "warmup warmup_ratio warmup_frac warmup_fraction warmup_share",
    "schedule_cooldown": "cooldown cooldown_ratio cooldown_frac warmdown warmdown_ratio warmdown_frac cooldown_share",
}
_WORDS = {
    "optimizer": "optimizer optim opt optimiser optimizer_name",
    "schedule": "schedule lr_schedule scheduler lr_scheduler",
    "activation": "activation act nonlinearity activation_fn act_fn",
    "normalisation": "norm normalization normalisation norm_type",
    "loss": "loss loss_fn criterion",
}
_SWITCHES = {
    "input_standardisation": "standardize standardise standardize_inputs normalize_inputs scale_inputs",
    "residual": "residual residuals use_residual skip_connections",
}
_BY_NAME = [
    {name: role for role, names in table.items() for name in names.split()}
    for table in (_NUMBERS, _SHARES, _WORDS, _SWITCHES)
]
_USUAL = {  # role → values, beside the constant's own
    "momentum": (0.0, 0.5, 0.8, 0.9, 0.95),
    "dropout": (0.0, 0.1, 0.2, 0.4),
    "weight_decay": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
    "label_smoothing": (0.0, 0.05, 0.1, 0.2),
    "first_moment": (0.8, 0.9, 0.95),
    "second_moment": (0.95, 0.99, 0.999),
    "schedule_warmup": (0.0, 0.05, 0.1, 0.2),
    "schedule_cooldown": (0.0, 0.2, 0.4, 0.8),
    "gradient_clip": (0.0, 0.5, 1.0, 5.0),
}
_POSSIBLE = {  # role → the range of its values; outside of it the name means another thing
    "update_floor": (0.0, 1e-3),
    "first_moment": (0.1, 0.9999),
    "second_moment": (0.5, 0.999999),
    **dict.fromkeys(("momentum", "dropout", "label_smoothing"), (0.0, 0.9999)),
}
_BETAS = ("first_moment", "second_moment")
_OTHER_PARTS = re.compile(  # of a program, whose settings have the names of the optimizer's
    r"(?:^|[._\[])(?:\w*norm\w*|bn|ema|swa|early\w*|sched\w*|eval\w*|val|test|data\w*|teacher|target|critic)(?:$|[._\]])",
    re.I,
)
_FACTORS = {"learning_rate": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)}
_LINK = r"(?:\s+(?:of|to|at|is|be|around|about|near|from|like|with|such as|say)|\s*[=:]){0,2}\s*[`(]?"
_NUMBER = r"(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)(?![\d.]*\s*%)(?!\w)"
_FORBIDS = re.compile(
    r"\b(?:do not|don't|never|must not|avoid|not above|not below|at least|at most|hurts?|worse)\b", re.I
)


_WORD = r"[A-Za-z][\w-]*"
_QUOTED = re.compile(rf"[\"'`]({_WORD})[\"'`]")


def role_of(name: str, value: object) -> str:
    """The role of a constant, empty if its name does not say it."""
    key = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower().replace("-", "_")
    numbers, shares, words, switches = _BY_NAME
    if isinstance(value, bool):
        return switches.get(key, "")
    if isinstance(value, str):
        return words.get(key, "")
    if isinstance(value, float) and 0.0 <= value <= 1.0 and key in shares:
        return shares[key]
    role = numbers.get(key, "")
    if value is None:
        return role if role in _USUAL else ""
    low, high = _POSSIBLE.get(role, (-1e18, 1e18))
    return role if isinstance(value, int | float) and low <= value <= high else ""


def inferred(
    uses: CodeUses, name: str, value: object, where: str, address: str = "", one: NestedValue | None = None
) -> tuple[str, str]:
    """(the role of a value; what it was inferred from): its name and section, or the call that gets it."""
    index = re.search(r"\[([01])\]$", address)
    if one is not None and (one.kind == "call" or _OTHER_PARTS.search(re.sub(r"\(.*", "", one.owner))):
        is_own = one.kind == "call" and name in (uses.parameters(one.owner) or ())
        role = _of_call(one.owner, name, value) if one.kind == "call" else ""
        role = role_of(name, value) if is_own and not index and not _OTHER_PARTS.search(one.owner) else role
        if index and one.kind == "call" and is_known_call(one.owner, name) and _is_betas(name):
            role = _BETAS[int(index[1])]
        return role, f"by its name in {one.owner}(), {where}" if role else ""
    role = _BETAS[int(index[1])] if index and _is_betas(name) else "" if index else role_of(name, value)
    if role:
        return role, f"by its name, {where}"
    reasons = {(role, f"by {site.where}: {last_name(site.node.func)}({keyword.arg}=…)")
             for module in uses.modules.values() for sites in module.calls.values() for site in sites
             for keyword in site.node.keywords
             if not index and innermost(keyword.value) == name and _is_value_of(keyword.value, one)
             and (role := _of_call(last_name(site.node.func), keyword.arg or "", value))}  # fmt: skip
    return min(reasons) if len({role for role, _ in reasons}) == 1 else ("", "")


def _is_betas(name: str) -> bool:
    return name.lower() in ("betas", "adam_betas", "adamw_betas", "optimizer_betas")


def _is_value_of(node: ast.expr, one: NestedValue | None) -> bool:
    """Whether an expression may be a constant (a name), or a field, an option or an entry (an attribute, a key)."""
    return isinstance(node, ast.Name) if one is None or one.kind in ("product", "default") else True


def _of_call(function: str, keyword: str, value: object) -> str:
    """The role of a number that a call of an optimizer, a dropout layer and the like gets; else none."""
    if not is_known_call(function, keyword):
        return ""
    if keyword in ("p", "rate"):
        return "dropout"
    return "gradient_clip" if keyword == "max_norm" else role_of(keyword, value)


def usual_values(role: str, now: float | int | None) -> tuple[Any, ...]:
    """The values that are worth a try for a number of that role, its own among them; empty if none are known."""
    if role in _FACTORS and now and now > 0:
        return tuple(sorted({float(f"{now * factor:.6g}") for factor in _FACTORS[role]}))
    if role in _USUAL and isinstance(now, float):
        return tuple(sorted({*_USUAL[role], now}))
    if now is None and role in _USUAL:
        return tuple(value for value in _USUAL[role] if value)  # None is what 0 is elsewhere: without
    return ()


def compared_with(tree: ast.Module, name: str, inner: bool = False) -> list[str]:
    """The strings that code compares a constant with (``==``, ``in``, ``match``), or looks it up among. ``inner``: also
    an attribute or key of that name."""
    values: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and _is(node.left, name, inner):
            values += [text for other in node.comparators for text in _texts(other)]
        elif isinstance(node, ast.Subscript) and _is(node.slice, name, inner) and isinstance(node.value, ast.Dict):
            values += [text for key in node.value.keys if key is not None for text in _texts(key)]
        elif isinstance(node, ast.Match) and _is(node.subject, name, inner):
            values += [
                text
                for case in node.cases
                if isinstance(case.pattern, ast.MatchValue)
                for text in _texts(case.pattern.value)
            ]
    tables: dict[str, ast.Dict] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            tables |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is(node.slice, name, inner) and isinstance(node.value, ast.Name):
            table = tables.get(node.value.id)
            values += [text for key in (table.keys if table else ()) if key is not None for text in _texts(key)]
    return list(dict.fromkeys(values))


def _is(node: ast.expr, name: str, inner: bool = False) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("lower", "strip"):
        node = node.func.value
    return (isinstance(node, ast.Name) or inner) and innermost(node) == name


def _texts(node: ast.expr) -> list[str]:
    items: Sequence[ast.expr] = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else (node,)
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def said(repository: ForeignRepository, name: str, role: str) -> list[tuple[float, str]]:
    """The numbers that the owner's prose names for a constant, each with its line; not those that it warns of."""
    names = {name, name.replace("_", " "), role.replace("_", " ")} - {""}
    words = "|".join(sorted((re.escape(one) for one in names), key=len, reverse=True))
    pattern = re.compile(rf"\b(?:{words})\b`?{_LINK}{_NUMBER}", re.IGNORECASE)
    return [
        (float(match["number"]), line.where)
        for line in repository.lines(*repository.prose)
        for sentence in re.split(r"(?<=[.!;])\s+", line.text)
        if not _FORBIDS.search(sentence)
        for match in pattern.finditer(sentence)
    ]


def said_words(repository: ForeignRepository, name: str) -> list[tuple[str, str]]:
    """The words that the owner's prose names for a constant that is a text, each with its line: ``NAME="word"``, and
    what stands in quotes or backticks in a sentence with its name, where the code has that text too."""
    code = {text for file in repository.code for text in _QUOTED.findall(repository.text(file))}
    gives = re.compile(rf"\b{re.escape(name)}`?\s*=\s*[`\"']?(?P<word>{_WORD})")
    words = []
    for line in repository.lines(*repository.prose):
        for sentence in re.split(r"(?<=[.!;])\s+", line.text):
            if re.search(rf"\b{re.escape(name)}\b", sentence) and not _FORBIDS.search(sentence):
                near = [word for word in _QUOTED.findall(sentence) if word in code and word != name]
                words += [(word, line.where) for word in (*gives.findall(sentence), *near)]
    return list(dict.fromkeys(words))
