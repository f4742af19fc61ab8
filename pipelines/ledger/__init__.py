"""The ledger: the files and segments that a job must analyse, and which of them are stored already."""
