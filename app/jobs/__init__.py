"""Parts of the Jobs page: the form of a new scan with its plan, and the cards of jobs."""
