"""Searches: their routes, which vectors are compared and which files pass, and pictures that are searched by again."""
