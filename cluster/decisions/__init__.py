"""Decisions of reviewers on files: their settings, their store and the shapes of their routes."""
