"""The role that a setting of the user's repository may have, by its whole name, and the values usual for that role.

A wrong role is worse than none, because ideas that were learnt elsewhere follow it: a value outside of the role's range
means another thing, and parts of a name do not count.
"""

from __future__ import annotations

import re

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
