FLAG = "--no-sandbox"


def flag(sandboxed: bool) -> str:
    """What a command line that is printed for the user has to end with."""
    return "" if sandboxed else f" {FLAG}"
