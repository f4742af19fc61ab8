"""The catalogue: a DuckDB database, built from the committed results, that answers browsing, search and exports."""
