"""Routes on the state of the cluster, and on its settings and models."""
