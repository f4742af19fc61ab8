"""`raysift keys`, `users` and `audit`: who may do what. They work on the state folder, on the cluster's head."""
