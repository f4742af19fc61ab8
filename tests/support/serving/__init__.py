"""Stand-ins for Serve handles, and programs that start a Ray of their own to watch its replicas."""
