"""Erasure of files, people, jobs and old results from every store, with a proof."""
