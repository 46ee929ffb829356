"""What runs inside the sandbox: the warm template, the monitor and the process of an experiment. Imports nothing else of ours."""
