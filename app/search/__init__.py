"""Parts of the Search page: the picture that is searched by, and the files that were found."""
