"""How files are looked at: timelines, moments and neighbours of one file; what is seen before a file is revealed."""
