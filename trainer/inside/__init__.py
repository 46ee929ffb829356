"""Code that runs inside the sandbox: template, monitor, an experiment's process. Imports nothing else of Metaloop."""
