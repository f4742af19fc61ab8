"""Browser tests of the page of one file."""
