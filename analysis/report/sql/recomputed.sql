-- Whether the study was begun by a version that took credit from differences of child and parent: its config names the
-- versions that it ran with, and not yet the bits of its data seeds.
SELECT count(*) > 0 AS older FROM studies WHERE (config -> 'versions') IS NOT NULL AND (config -> 'data_bits') IS NULL
