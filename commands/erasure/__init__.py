"""`raysift erase` and `raysift hold`: erasure with a proof, legal holds, retention. On the cluster's head."""
