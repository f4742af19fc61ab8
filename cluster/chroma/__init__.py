"""The vector store Chroma: its client, and searches in its collections."""
