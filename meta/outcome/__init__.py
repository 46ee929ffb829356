"""What becomes of a study: pages, a branch, a program for others."""
