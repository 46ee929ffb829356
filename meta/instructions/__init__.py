"""Instructions for writing programs (meta programs), compared by the children that models write by following them.

A *job* is what every instruction is given alike: a task with the finished opening race there, an operator and the
parents. The score of an instruction is the mean over tasks of the verified gain of the children over their parents, in
units of the task's scale; a job that leads to no child counts as 0.
"""
