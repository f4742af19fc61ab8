"""Commands on what reviewers have decided."""
