"""The state of the cluster, its settings, models and users as the API answers them."""
