"""What follows stored results: verification, reports, indexes, exports, audits."""
