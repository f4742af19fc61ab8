"""The API's routes for people: groups of faces, and their corrections."""
