"""What runs inside the sandbox: template, monitor, the process of an experiment. Imports nothing else of ours."""
