"""Parts of the Browse page: filters, their wording, the list that is held still, and selected files."""
