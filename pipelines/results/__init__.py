"""Work on stored results: verification, reports, indexes, exports, audits."""
