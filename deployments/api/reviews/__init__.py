"""The API's routes for decisions and reviews."""
