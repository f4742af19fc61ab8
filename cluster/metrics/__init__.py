"""The metrics of all processes: their declaration, and the functions by which code records them."""
