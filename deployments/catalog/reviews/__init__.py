"""Decisions of reviewers beside the catalogue, and the queues of files to review."""
