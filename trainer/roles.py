"""What a knob is in any task: the vocabulary of `role` in task.toml. An idea names one with `@`: `@learning_rate=*3`.

A role says what a setting does, not what it is called. Docs (docs/roles.md) print these definitions.
"""

from __future__ import annotations

ROLES = {
    # optimizer
    "optimizer": "rule that turns gradients into steps: plain gradient descent, with momentum, adaptive",
    "learning_rate": "size of a step, in the units of the optimizer",
    "momentum": "share of the last step that is added to the next one",
    "second_moment": "decay of an adaptive optimizer's average of squared gradients",
    "weight_decay": "share of the weights that is taken off at each step",
    "gradient_clip": "largest norm of a gradient",
    "batch_size": "examples, or sequences, per step",
    "accumulation": "steps whose gradients are summed before the weights change",
    "update_rule": "patch that replaces the optimizer of some weights (Muon, for example)",
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
    # speed
    "precision": "number format of the computation",
    "compilation": "the computation is compiled, or its parts fused",
    "block_size": "tile of a blocked computation, in elements",
    "unrolling": "iterations of a loop that are written out",
    "vectorisation": "elements that one instruction handles",
    "memory_layout": "order of the elements in memory",
    "threads": "parallel parts of a computation",
}
