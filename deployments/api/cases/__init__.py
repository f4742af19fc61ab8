"""The API's routes for cases, and for the overview of a case or of all files."""
