"""Commands for operators: backup and restore, logs, and the state of a cluster in the terminal."""
