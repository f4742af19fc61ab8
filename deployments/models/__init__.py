"""The networks and algorithms that detectors are made of, and how they are loaded and run."""
