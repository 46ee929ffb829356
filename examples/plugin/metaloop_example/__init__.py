"""One part of each kind that metaloop lets a package add."""
