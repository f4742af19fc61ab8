"""A process that starts Chroma, hides its port from other users of the machine, and checks who connects."""

TOKEN_VARIABLE = "GUARD_TOKEN"  # of the environment: a process's arguments are visible to all users of a machine
