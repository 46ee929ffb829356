"""Code that runs inside the sandbox: template, monitor, an experiment's process. There nothing else of Metaloop is."""
