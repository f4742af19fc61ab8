"""Prometheus and Grafana in compose, and the objects for the Prometheus operator on Kubernetes."""

import yaml

from tests.launch.compose_file import config, read
from tests.support.manifests import build, complaints, of_kind, pods_of
from tests.support.paths import ROOT

FOLDER = ROOT / "monitoring"


def test_the_operator_gets_the_rules_that_prometheus_has():
    (rules,) = of_kind(build("../monitoring"), "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((FOLDER / "alerts.yaml").read_text())


def test_the_monitor_selects_every_pod_of_ray_and_a_port_that_it_has():
    (monitor,) = of_kind(build("../monitoring"), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (policy,) = of_kind(build("../monitoring"), "NetworkPolicy")
    assert complaints(policy) == []
    selected = [pod for pod in pods_of(build("base")) if pod.metadata["labels"].get("ray.io/is-ray-node") == "yes"]
    assert len(selected) >= 2
    for pod in selected:
        ports = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        assert ports[endpoint["port"]] == policy["spec"]["ingress"][0]["ports"][0]["port"]


def test_grafanas_sidecar_finds_the_dashboards():
    (dashboards,) = of_kind(build("../monitoring"), "ConfigMap")
    assert dashboards["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert dashboards["data"] == {file.name: file.read_text() for file in (FOLDER / "dashboards").iterdir()}


def test_composes_prometheus_scrapes_the_port_on_which_every_node_exports():
    (job,) = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    services = read()["services"]
    nodes = {name for name, service in services.items() if str(service.get("command", "")).startswith("ray start")}
    assert set(names["names"]) == nodes
    assert all(f"--metrics-export-port={names['port']}" in services[name]["command"] for name in nodes)


def test_compose_publishes_prometheus_and_grafana_on_this_machine_only():
    merged = config("compose.yaml", "compose.monitoring.yaml")["services"]
    added = read(ROOT / "compose.monitoring.yaml")["services"]
    assert "prometheus" in merged and added["grafana"]["profiles"] == ["grafana"]
    for name, service in added.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), volume
