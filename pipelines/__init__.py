"""How a job analyses files with Ray Data. An upload is analysed by the same functions."""
