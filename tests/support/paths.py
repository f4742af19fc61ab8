"""Where the tests find the repository and, where it exists, the material beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"  # labelled media and broken files; not part of the repository
