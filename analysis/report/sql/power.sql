-- What this study can and cannot tell apart.
FROM power
