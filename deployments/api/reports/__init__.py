"""Reports of cases over HTTP."""
