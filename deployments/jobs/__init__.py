"""The queue of jobs: its SQLite store, its drivers in Ray, its copy beside the results."""
