"""The Parquet files of results: reading, writing, merging, and which answer is the newest."""
