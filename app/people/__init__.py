"""The people page: groups of faces as tiles, when a person is seen in films, corrections."""
