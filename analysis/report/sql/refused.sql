-- The logs that were not imported, with the reason.
SELECT path AS log, reason FROM imports WHERE state = 'refused' ORDER BY path
