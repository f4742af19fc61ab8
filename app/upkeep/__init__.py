"""Parts of the pages Cluster and Settings."""
