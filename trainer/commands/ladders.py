"""Knobs for a researcher without a language model: settings of the editable files, each with other values to try.

In Python: constants, numbers in fields of classes and in dicts, and defaults of options; in YAML, JSON and TOML the
keys (`trainer.values.nested_values`). Whether a value can be used, and changes anything, is found by running
(`trainer.commands.check`).

A setting may have a role, by its whole name, and then gets the values usual for that role. A wrong role is worse than
none, because ideas that were learnt elsewhere follow it: a value outside of the role's range means another thing, and
parts of a name do not count.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from programs.common.errors import UsageError
from trainer.commands.repository import OwnRepository
from trainer.values import nested_values
from trainer.values.nested_values import Scalar

MOST = 24
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_MEASURES = re.compile(  # names of what a measurement rests on
    r"SEED|RANDOM_STATE|PATH|DIR|FILE|VERSION|PORT|VOCAB|TIME_|BUDGET|SECONDS|DEVICE|URL|HOST|REPEAT|TRIALS|EVAL"
    r"|(?:^|_)(?:VAL|VALID|VALIDATION|TEST|HELD|HOLD|HOLDOUT|FOLDS?|N_?JOBS|BINS)(?:_|$)",
    re.IGNORECASE,
)
_IDEA = re.compile(r"`(\w+)=([^`\s]+)`")

_NUMBERS = {  # role → names of a number, in lower case, words joined by _
    "learning_rate": "lr learning_rate base_lr max_lr peak_lr init_lr initial_lr learningrate eta step_size lr0",
    "momentum": "momentum sgd_momentum heavy_ball",
    "first_moment": "beta1 beta_1 adam_beta1 b1",
    "second_moment": "beta2 beta_2 adam_beta2 b2",
    "weight_decay": "weight_decay wd decay_weight l2 l2_penalty",
    "update_floor": "eps epsilon adam_eps adam_epsilon",
    "gradient_clip": "grad_clip clip_grad clip_norm max_grad_norm gradient_clip grad_clip_norm",
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
_NUMBER_ROLES, _WORD_ROLES = (
    {name: role for role, names in table.items() for name in names.split()} for table in (_NUMBERS, _WORDS)
)
_SHARES = ("schedule_warmup", "schedule_cooldown")  # of the budget: a number of steps is another thing
_POSSIBLE = {  # role → the range of its values; outside of it the name means another thing
    "update_floor": (0.0, 1e-3),
    "first_moment": (0.1, 0.9999),
    "second_moment": (0.5, 0.999999),
    **dict.fromkeys(("momentum", "dropout", "label_smoothing"), (0.0, 0.9999)),
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
}
_USUAL = {  # role of a number that may be 0 or is close to 1 → values, beside its own
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
_RATES = (0.01, 0.03, 0.1, 0.3, 3.0, 10.0)  # factors of a learning rate
_FACTORS = (0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True)
class Ladder:
    """One setting of ``file``: ``values`` to try. ``at``: its address, if it is no constant of Python. ``reason``: why
    it is no knob."""

    name: str
    file: str
    line: int
    value: Scalar
    owner: str = ""
    at: str = ""
    role: str = ""
    values: tuple[Scalar, ...] = ()
    reason: str = ""

    @property
    def kind(self) -> str:
        plain = "int" if isinstance(self.value, int) else "float"
        return "choice" if isinstance(self.value, bool | str) else plain


def ladders(
    repository: OwnRepository, editable: Sequence[str], given: Mapping[str, str], command: str = ""
) -> list[Ladder]:
    """The settings of the editable files, those with a ``reason`` after the others, of which 24 are kept: those that
    are ``given`` (NAME → "1,2,4") first, then those with a role. Those that ``command`` sets are no knobs.

    UsageError for a name or value that does not fit."""
    settings = [knob for file in editable for knob in _settings(repository, file)]
    if unknown := given.keys() - {knob.name for knob in settings}:
        raise UsageError(
            f"--set values={min(unknown)}: no setting of that name in {', '.join(editable)}", hint="NAME=1,2,4"
        )
    stated = _stated(repository)
    judged = [_with_values(knob, given.get(knob.name), stated.get(knob.name.lower(), ())) for knob in settings]
    judged = [replace(knob, reason="the command sets it") if _is_set(knob, command) else knob for knob in judged]
    knobs = _named_apart([knob for knob in judged if not knob.reason])
    ranked = sorted(knobs, key=lambda one: (one.name not in given, not one.role))
    kept = [knob for knob in knobs if knob in ranked[:MOST]]
    dropped = [
        replace(knob, reason=f"more than {MOST} settings; --set values=NAME=… takes it") for knob in ranked[MOST:]
    ]
    return [*kept, *dropped, *(knob for knob in judged if knob.reason)]


def _is_set(one: Ladder, command: str) -> bool:
    """Whether a command line gives this option or key a value, so that the one in the file has no effect."""
    name = re.escape(one.at.lstrip("-"))
    return bool(one.at and re.search(rf"(?:^|[\s+'\"]){name}=|(?:^|\s)--?{name}(?:=|\s+\S)", command))


def _settings(repository: OwnRepository, file: str) -> Iterator[Ladder]:
    """All settings of a file that have a name."""
    for address, setting in nested_values.read(file, repository.text(file)).items():
        values = tuple(dict.fromkeys((setting.value, *setting.choices))) if setting.choices else ()
        at = "" if setting.kind == "constant" else address
        role = role_of(setting.name, setting.value)
        yield Ladder(setting.name, file, setting.line, setting.value, setting.owner, at, role, values)


def _stated(repository: OwnRepository) -> dict[str, list[str]]:
    """The values that ideas of its prose state, such as `` `BATCH=1000` ``, by the setting's name in lower case."""
    values: dict[str, list[str]] = {}
    for file in repository.prose:
        for name, value in _IDEA.findall(repository.text(file)):
            values.setdefault(name.lower(), []).append(value)
    return values


def _with_values(one: Ladder, given: str | None, stated: Sequence[str]) -> Ladder:
    """With the values to try, also those ``stated`` by ideas; else with the reason why there are none."""
    if given is not None:
        return replace(one, values=_read(one.value, given))
    if not _NAME.fullmatch(one.name):
        return replace(one, reason="its name has no form of an edit")
    if _MEASURES.search(one.name):
        return replace(one, reason="the measurement may rest on it")
    if one.values:
        return one
    suggested = () if isinstance(one.value, str) else values_to_try(one.value, one.role)
    further = {value for text in stated for value in _of_type(one.value, text)}
    values = tuple(sorted({*suggested, *further, *([one.value] if further else [])}, key=_order))
    return replace(one, values=values, reason="" if len(values) > 1 else "no other values suggest themselves")


def _named_apart(knobs: Sequence[Ladder]) -> list[Ladder]:
    """Settings of one name in several places get names that say where (``optim_lr``); of equal ones the first stays."""
    times = Counter(knob.name.lower() for knob in knobs)
    kept: dict[str, Ladder] = {}
    for knob in knobs:
        owner = re.sub(r"\W+", "_", knob.owner).strip("_")
        name = (
            f"{owner}_{knob.name}"[-40:].lstrip("_0123456789") if owner and times[knob.name.lower()] > 1 else knob.name
        )
        kept.setdefault(name.lower(), replace(knob, name=name))
    return list(kept.values())


def _read(now: Scalar, text: str) -> tuple[Scalar, ...]:
    """The values that the user gives, with the present one."""
    values = {now}
    for part in text.split(","):
        if not (known := _of_type(now, part)):
            raise UsageError(f"--set values=…{part.strip()!r}: the present value is {now!r}", hint="NAME=1,2,4")
        values.update(known)
    return tuple(sorted(values, key=_order))


def _order(value: Scalar) -> tuple[str, Scalar]:
    return ("text" if isinstance(value, str) else ""), value


def _of_type(now: Scalar, text: str) -> tuple[Scalar, ...]:
    """A text as a value of the present one's type; empty if it is of another."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        value = text.strip()
    value = float(value) if isinstance(now, float) and type(value) is int else value
    return (value,) if type(value) is type(now) else ()


def role_of(name: str, value: object) -> str:
    """The role of a setting with that name and value; empty if they do not say it."""
    key = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower().replace("-", "_")
    if isinstance(value, str):
        return _WORD_ROLES.get(key, "")
    role = _NUMBER_ROLES.get(key, "")
    if isinstance(value, bool) or not isinstance(value, int | float) or (role in _SHARES and isinstance(value, int)):
        return ""
    low, high = _POSSIBLE.get(role, (0.0, 1e18))
    return role if low <= value <= high else ""


def values_to_try(value: bool | int | float, role: str) -> tuple[bool | int | float, ...]:
    """Its own value and others: those usual for its role, else multiples; of 0.5 to 1, of its distance from 1; 1 may
    be a switch. Empty where no other value suggests itself, as for 0 without a role."""
    if isinstance(value, bool):
        return (False, True)
    if role in _USUAL and isinstance(value, float):
        return tuple(sorted({*_USUAL[role], value}))
    if isinstance(value, int):
        return (
            tuple(
                sorted({max(1, round(value * factor)) for factor in _FACTORS} | {value, *([0] if value == 1 else [])})
            )
            if 0 < value < 1 << 31
            else ()
        )
    if value == 0.0:
        return (0.0, 0.1, 0.5)
    if not 0 < value < 1e12:
        return ()
    if role == "learning_rate":
        others = {value * factor for factor in _RATES}
    elif 0.5 < value < 1:
        others = {1 - (1 - value) * factor for factor in _FACTORS if (1 - value) * factor < 1}
    else:
        others = {value * factor for factor in _FACTORS}
    return tuple(sorted({float(f"{other:.6g}") for other in others} | {value}))
