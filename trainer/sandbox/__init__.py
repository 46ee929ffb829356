FLAG = "--no-sandbox"
UNSAFE = f"or run trusted code without a sandbox: {FLAG}"


def flag(sandboxed: bool) -> str:
    """What a command line that is printed for the user has to end with."""
    return "" if sandboxed else f" {FLAG}"
