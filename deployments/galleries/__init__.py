"""Galleries of reference pictures: logos, people and scenes that the operator has added."""
