"""What runs in Ray Serve: detectors, the catalogue, the queue of jobs, the HTTP API."""
