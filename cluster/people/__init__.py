"""Whose faces are shown in files: the ids of faces, the decisions on them, the shapes of their routes."""
