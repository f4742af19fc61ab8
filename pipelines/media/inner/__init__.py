"""Pictures within the file of a picture that it does not show by itself."""
