"""What a contest shows on the web: an API and pages."""
