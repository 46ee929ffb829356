-- What each program gained on each task of the study, beside stock there.
FROM transfer
