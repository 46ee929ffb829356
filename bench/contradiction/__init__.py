"""The parts of `bench.contradictions`: planted studies, their screens, what these state, and which statements clash."""
