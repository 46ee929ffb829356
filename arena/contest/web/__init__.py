"""What a contest shows on the web: an API, pages, and their markdown twins."""
