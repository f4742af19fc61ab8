"""Cases, which are named sets of folders, and the shapes of an overview of their files."""
