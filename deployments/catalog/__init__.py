"""The catalogue that people browse: a DuckDB database that is built from the results."""
