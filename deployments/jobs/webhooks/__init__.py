"""Webhooks: what is to be told of jobs and hits, kept on disk until it is delivered."""
