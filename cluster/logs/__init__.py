"""The logs of all processes: their settings, their form, and what must not stand in them."""
