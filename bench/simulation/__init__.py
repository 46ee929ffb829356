"""A cluster with a simulated clock: the scheduler and the fair order of the arena, devices and researchers drawn."""
