"""The export of the catalogue over HTTP."""
