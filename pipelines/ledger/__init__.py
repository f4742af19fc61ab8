"""The ledger: which files and segments a job owes, and which of them are stored already."""
