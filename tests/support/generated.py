"""How many inputs hypothesis generates for the tests that `make chaos` runs."""

from hypothesis import HealthCheck, settings

# no deadline: the machine has other load; no database: every run is a new search
thorough = settings(
    max_examples=1000,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each input is written over the one before it
)
