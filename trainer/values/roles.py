"""What a knob is in any task: the vocabulary of `role` in task.toml. An idea names one with `@`: `@learning_rate=*3`.

A role says what a setting does, not what it is called. docs/ideas.md has the names.
"""

from __future__ import annotations

ROLES = {
    # optimizer
    "optimizer": "rule that turns gradients into steps: plain gradient descent, with momentum, adaptive",
    "learning_rate": "size of a step, in the units of the optimizer",
    "momentum": "share of the previous step that is added to the next one",
    "first_moment": "decay of an adaptive optimizer's average of gradients",
    "second_moment": "decay of an adaptive optimizer's average of squared gradients",
    "weight_decay": "share of each weight that is subtracted at each step",
    "update_floor": "smallest divisor of an adaptive optimizer (epsilon)",
    "gradient_clip": "largest norm of a gradient",
    "gradient_centring": "patch that subtracts the mean from the gradients of a matrix",
    "gradient_noise": "patch that adds random numbers to the gradients",
    "batch_size": "examples, or sequences, per step",
    "accumulation": "steps whose gradients are summed before the weights change",
    "update_rule": "patch that replaces the optimizer of some weights (Muon, for example)",
    "sign_update": "patch that uses only the sign of each update",
    "layer_rate": "patch that scales each layer's step by the size of its weights",
    "slow_weights": "patch that moves back towards older weights now and then (lookahead)",
    "secondary_rate": "learning rate of those weights that have an optimizer of their own",
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
    "normalisation": "normalisation inside the model: none, layer or batch",
    "dropout": "share of hidden units that is left out while training",
    "init_scale": "scale of the initial weights",
    "residual": "skip connections around layers or blocks",
    "convolution": "patch that shares weights over positions of an image or a sequence",
    "attention": "patch that changes how positions of a sequence attend to each other",
    "position": "how a model knows the position in a sequence: learned, rotary, none",
    "token_mixing": "patch that adds a part of the previous position's vector",
    "symbol_table": "patch that adds to the outputs a learned table indexed by the last symbol",
    "weight_tying": "one matrix for the input and the output symbols",
    "embedding_width": "channels of a symbol's vector",
    "hidden_factor": "width of the hidden layer in a block, as a multiple of its input",
    "output_scale": "factor or limit of the last layer's outputs",
    # data
    "data_amount": "number of training examples that are used",
    "input_standardisation": "inputs shifted and scaled to mean 0 and variance 1",
    "feature_transform": "inputs transformed by a fixed function",
    "augmentation": "examples changed at random while training",
    "cleaning": "examples removed: duplicates, outliers, wrong labels",
    "context_length": "positions that the model sees at once",
    "order": "order in which examples are seen",
    # loss
    "loss": "function that is minimised",
    "label_smoothing": "share of a target that is spread over all classes",
    "noise": "random numbers added to inputs or weights while training, relative to their own spread",
    # computation
    "precision": "number format, or exactness, of the computation",
    "compilation": "the computation is compiled, or its parts are joined into one kernel",
    "compiler_level": "level of the compiler's optimizations",
    "inlining": "functions are copied into their callers",
    "unrolling": "iterations of a loop that are written out",
    "vectorisation": "elements that one instruction, or one call, handles",
    "threads": "parallel parts of a computation",
    "block_size": "elements that are handled at a time",
    "memory_layout": "order and spacing of the elements in memory",
    "loop_order": "order of the loops over the elements",
    "branches": "patch that moves a case distinction out of a loop",
    "fusion": "patch that joins two passes over the data into one",
    "matrix_product": "patch that replaces a sum by a matrix product",
    "dense_product": "patch that computes with all elements instead of only the nonzero ones",
    "library_call": "patch that calls a library function instead",
    "factorisation": "patch that splits a computation into smaller ones, one after the other",
    "running_sums": "patch that computes each sum from the previous one",
    "precomputation": "patch that computes once what was computed repeatedly",
    "memoisation": "patch that reuses results of earlier calls",
    "lookup_table": "patch that replaces a function by a table of its values",
    "selection_method": "method of sorting or selecting",
    "partial_selection": "patch that selects without sorting everything",
    "subsampling": "patch that leaves out a part of the input",
    "conditioning": "a constant is subtracted, so that fewer digits are lost",
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
