"""Tests of pipelines/media/ends."""
