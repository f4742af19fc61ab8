"""Tests of pipelines/media/tracks."""
