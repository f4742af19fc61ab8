"""Paths of the repository and of the optional test media beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"  # labelled media and broken files; not part of the repository
