-- The tasks on which programs were chosen, and what gains on each are divided by where several are told in one figure.
FROM scales
