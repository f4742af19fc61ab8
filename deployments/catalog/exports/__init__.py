"""Exports of the catalogue: their formats, written part by part."""
