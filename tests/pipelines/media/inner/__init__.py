"""Tests of pipelines/media/inner."""
