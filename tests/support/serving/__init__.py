"""Stubs of Serve handles, and programs that start a Ray cluster of their own to observe its replicas."""
