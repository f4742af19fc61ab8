"""Commands on folders of results."""
