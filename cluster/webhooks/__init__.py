"""The settings of webhooks: who is told of the end of jobs, and of hits."""
