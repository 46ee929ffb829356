"""Commands on tasks, programs, knowledge and files."""
