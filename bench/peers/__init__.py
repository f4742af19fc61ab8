"""Other engines doing the work of bench/warm.py: programs in environments of their own, see bench/engines.py."""
