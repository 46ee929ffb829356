"""What a knob is in any task: the vocabulary of `role` in task.toml. An idea names one with `@`: `@learning_rate=*3`.

A role says what a setting does, not what it is called. Docs (docs/ideas.md) print these definitions.
"""

from __future__ import annotations

ROLES = {
    # optimizer
    "optimizer": "rule that turns gradients into steps: plain gradient descent, with momentum, adaptive",
    "learning_rate": "size of a step, in the units of the optimizer",
    "momentum": "share of the last step that is added to the next one",
    "first_moment": "decay of an adaptive optimizer's average of gradients",
    "second_moment": "decay of an adaptive optimizer's average of squared gradients",
    "weight_decay": "share of the weights that is taken off at each step",
    "update_floor": "small number below which an adaptive optimizer does not divide",
    "gradient_clip": "largest norm of a gradient",
    "gradient_centring": "patch that takes the mean off the gradients of a matrix",
    "gradient_noise": "patch that adds random numbers to the gradients",
    "batch_size": "examples, or sequences, per step",
    "accumulation": "steps whose gradients are summed before the weights change",
    "update_rule": "patch that replaces the optimizer of some weights (Muon, for example)",
    "sign_update": "patch that uses only the sign of each update",
    "layer_rate": "patch that scales each layer's step by the size of its weights",
    "slow_weights": "patch that goes back towards older weights now and then (lookahead)",
    "secondary_rate": "learning rate of a part of the weights with an optimizer of its own",
    # schedule
    "schedule": "shape of the learning rate over the budget",
    "schedule_warmup": "first share of the budget in which the learning rate rises",
    "schedule_cooldown": "last share of the budget in which the learning rate falls",
    "weight_average": "average of the weights over the last steps",
    # model
    "width": "units of a layer, or channels of a hidden state",
    "depth": "layers or blocks",
    "heads": "attention heads",
    "head_width": "channels of an attention head",
    "kernel_size": "extent of a convolution",
    "activation": "non-linearity between layers",
    "normalisation": "normalisation inside the model: none, of a layer, of a batch",
    "dropout": "share of hidden units that is left out while training",
    "init_scale": "scale of the initial weights",
    "residual": "skip connections around layers or blocks",
    "convolution": "patch that shares weights over positions of an image or a sequence",
    "attention": "patch that changes how positions of a sequence look at each other",
    "position": "how a model knows the position in a sequence: learned, rotary, none",
    "token_mixing": "patch that adds a part of the previous position's vector",
    "symbol_table": "patch that adds a learned table over the last symbol to the outputs",
    "weight_tying": "one matrix for the input and the output symbols",
    "embedding_width": "channels of a symbol's vector",
    "hidden_factor": "width of the hidden layer in a block, as a multiple of its input",
    "output_scale": "factor or limit of the last layer's outputs",
    # data
    "data_amount": "examples that are used, of those that there are",
    "input_standardisation": "inputs shifted and scaled to mean 0 and variance 1",
    "feature_transform": "inputs transformed by a fixed function",
    "augmentation": "examples changed at random while training",
    "cleaning": "examples removed: duplicates, outliers, wrong labels",
    "context_length": "positions that the model sees at once",
    "order": "order in which examples are seen",
    # loss
    "loss": "function that is minimised",
    "label_smoothing": "share of a target spread over all classes",
    "noise": "random numbers added to inputs or weights while training, in units of their own spread",
    # computation
    "precision": "number format, or exactness, of the computation",
    "compilation": "the computation is compiled, or its parts joined into one kernel",
    "compiler_level": "level of the compiler's optimizations",
    "inlining": "functions are written into their callers",
    "unrolling": "iterations of a loop that are written out",
    "vectorisation": "elements that one instruction, or one call, handles",
    "threads": "parallel parts of a computation",
    "block_size": "elements that are handled at a time",
    "memory_layout": "order and spacing of the elements in memory",
    "loop_order": "order of the loops over the elements",
    "branches": "patch that takes a case distinction out of a loop",
    "fusion": "patch that does two passes over the data in one",
    "matrix_product": "patch that turns a sum into a matrix product",
    "dense_product": "patch that computes with all elements in place of the few that count",
    "library_call": "patch that calls a library's function for it",
    "factorisation": "patch that splits a computation into smaller ones, one after the other",
    "running_sums": "patch that computes sums from the ones before",
    "precomputation": "patch that computes once what was computed again and again",
    "memoisation": "patch that reuses results of earlier calls",
    "lookup_table": "patch that looks up a function in a table",
    "selection_method": "method of sorting or selecting",
    "partial_selection": "patch that selects without sorting all",
    "subsampling": "patch that leaves out a part of the input",
    "conditioning": "a constant is taken off, so that fewer digits are lost",
}

# names of one choice in several tasks; the first is the one that ideas by role and the knowledge base use
MEANINGS = {
    "optimizer": (
        ("sgd", "plain", "gd"),
        ("momentum", "heavy", "inertial", "nesterov"),
        ("adam", "adamw"),
        ("rmsprop", "rms"),
    ),
    "loss": (("squared", "square", "mse"), ("absolute", "l1", "mae"), ("huber", "smooth_l1")),
}


def meaning(role: str, value: str | float | int | bool) -> str | float | int | bool:
    """A knob's value as every task with this role understands it: ``heavy`` is ``momentum``."""
    if not isinstance(value, str):
        return value
    word = value.lower()
    return next((names[0] for names in MEANINGS.get(role, ()) if word in names), word)
