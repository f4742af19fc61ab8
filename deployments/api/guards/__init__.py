"""ASGI middlewares in front of the routes: who may ask what of the API, how much and how fast."""
