"""How Ray Serve runs detectors: replicas, placement on GPUs, health, clients, remote clusters."""
