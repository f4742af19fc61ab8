"""The tracks of a film, one after the other."""
