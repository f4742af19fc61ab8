"""How many requests of one kind are answered at the same time."""

import pytest
from fastapi import HTTPException

from deployments.api.guards.places import Places


def test_a_request_too_many_is_refused_until_another_has_ended_or_failed():
    places = Places()
    with places.take(2, "two are here", 5), pytest.raises(ValueError), places.take(2, "two are here", 5):
        with pytest.raises(HTTPException) as refused, places.take(2, "two are here", 5):
            pytest.fail("it was let in")
        assert (refused.value.status_code, refused.value.detail) == (503, "two are here")
        assert refused.value.headers == {"Retry-After": "5"}
        raise ValueError("the second one fails")
    assert places.taken == 0
    with places.take(1, "one is here", 5):
        assert places.taken == 1
