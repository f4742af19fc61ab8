"""The page of one file: its timelines, moments, texts and neighbours."""
