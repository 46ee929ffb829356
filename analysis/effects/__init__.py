"""Attribution: which edits, sentences, programs and commits change the gain, each with its design and interval.

`attribution` runs the methods, one module for each question (`edit`, `directive`, `mutation`, `factorial`,
`leave_one_out`); `mixed_model` is the one model of all experiments.
"""
