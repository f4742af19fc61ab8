"""Reports of cases: what they say, and their formats."""
