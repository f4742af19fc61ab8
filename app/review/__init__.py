"""What pages draw to decide on files."""
