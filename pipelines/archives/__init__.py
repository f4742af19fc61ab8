"""Readers of containers: archives, documents and mail. They run in a decoder's child process."""
