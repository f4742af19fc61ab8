"""The alert rules with shorter durations, by which tests see them fire in minutes."""

import pytest
import yaml

from tests.chaos.alerting import FACTOR, RULES, within_s
from tests.support.servers.prometheus import quickened


def rule(expr, **more):
    return {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": expr, **more}]}]}


def test_all_durations_of_a_rule_are_divided_and_nothing_else_changes():
    given = rule('x{code="5xx"} > 10 and rate(y[10m]) > 5 and z offset 1h > avg_over_time(z[1d])', **{"for": "2m"})
    expected = rule(
        'x{code="5xx"} > 10 and rate(y[30s]) > 5 and z offset 180s > avg_over_time(z[4320s])', **{"for": "6s"}
    )
    assert quickened(given, 20) == expected
    assert quickened(rule("x > 5m_x"), 20) == rule("x > 5m_x")


@pytest.mark.parametrize(
    "given",
    [rule("rate(x[30s]) > 0"), rule("x", **{"for": "1h30m"}), rule("rate(x[1h30m])"), rule("x", **{"for": "1s"})],
)
def test_a_duration_that_would_not_be_whole_seconds_is_refused(given):
    with pytest.raises(ValueError, match="cannot be divided"):
        quickened(given, 20)


def test_the_rules_of_the_repository_can_be_divided():
    quick = quickened(RULES, FACTOR)
    assert [rule["alert"] for rule in quick["groups"][0]["rules"]] == [
        rule["alert"] for rule in RULES["groups"][0]["rules"]
    ]
    assert "m]" not in yaml.safe_dump(quick)
    assert within_s("RaysiftBucketSlow") > within_s("RaysiftReplicaDied")
