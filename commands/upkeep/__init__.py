"""The commands that keep a cluster: its backup and restore."""
