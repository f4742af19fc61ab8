"""Groups of faces in the catalogue: who is seen in which files, and the corrections of reviewers."""
