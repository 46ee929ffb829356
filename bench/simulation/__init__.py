"""A cluster with a simulated clock: the fair order is the contest's own, placement and devices are simulated."""
