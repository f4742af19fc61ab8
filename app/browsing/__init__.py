"""Parts of the Browse page: filters, the list that is held still, and selected files."""
