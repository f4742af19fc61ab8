"""The configurations for `ray up`, checked against Ray's loader, EC2's API model and our settings."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import ray.autoscaler._private as autoscaler
import yaml
from botocore.stub import Stubber
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.scripts.scripts import start as ray_start
from typer.main import get_command

import raysift
from cluster import gpus
from cluster.ray_up.spot import SpotElseOnDemand
from cluster.settings import Settings
from deployments.serving.placement import configs, grouped, most_replicas, shares
from tests.support.paths import ROOT

FILES = {
    "aws": ROOT / "ray_cluster.yaml",
    "gcp": ROOT / "cluster" / "ray_up" / "gcp.yaml",
    "local": ROOT / "cluster" / "ray_up" / "local.yaml",
}
CARDS_GB = {"g6.2xlarge": 22.4, "g6e.2xlarge": 44.9, "g2-standard-8": 22.4}  # memory as NVIDIA's driver reports it
# programs that nodes, their hosts or the image have before `ray up`
INSTALLED = {"ulimit", "grep", "echo", "make", "sudo", "aws", "docker", "gcloud", "/usr/local/bin/pip"}
# copied from https://cloud.google.com/compute/docs/reference/rest/v1/instances/insert: Google's client, which could
# validate it, is not installed
GCP_FIELDS = {
    "machineType": str,
    "disks": {"boot", "autoDelete", "type", "initializeParams"},
    "serviceAccounts": {"email", "scopes"},
    "scheduling": {"provisioningModel", "instanceTerminationAction", "onHostMaintenance"},
}


def loaded(cloud: str) -> dict[str, Any]:
    """The parsed launcher configuration of a cloud."""
    return dict(yaml.safe_load(FILES[cloud].read_text()))


def workers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The node types other than the head's, by name."""
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


def settings() -> Settings:
    """The settings that every node of the cluster gets."""
    return Settings(**yaml.safe_load((ROOT / "cluster" / "ray_up" / "settings.yaml").read_text()))


every = pytest.mark.parametrize("cloud", FILES)
clouds = pytest.mark.parametrize("cloud", ["aws", "gcp"])


@every
def test_rays_loader_accepts_the_file(cloud):
    validate_config(prepare_config(loaded(cloud)))


@every
def test_ray_reads_every_key_of_the_provider(cloud):
    source = "\n".join(file.read_text() for file in (Path(autoscaler.__file__).parent / cloud).glob("*.py"))
    read = set(re.findall(r"""(?:provider_config|\["provider"\])(?:\.get\(|\[)\s*"(\w+)\"""", source))
    assert set(loaded(cloud)["provider"]) - {"type", "module"} <= read


def test_every_aws_node_config_is_a_valid_ec2_request():
    service = botocore.session.get_session().get_service_model("ec2")
    for kind in loaded("aws")["available_node_types"].values():
        request = kind["node_config"] | {"MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(request, service.operation_model("RunInstances").input_shape)
        assert not report.has_errors(), report.generate_report()
        assert request["InstanceType"] in service.shape_for("InstanceType").enum
        assert request.get("InstanceMarketOptions", {"MarketType": "spot"}) == {"MarketType": "spot"}


def test_every_gcp_node_config_has_only_known_fields():
    for kind in loaded("gcp")["available_node_types"].values():
        for key, value in kind["node_config"].items():
            for part in value if isinstance(value, list) else [value]:
                assert isinstance(part, str) or set(part) <= GCP_FIELDS[key], key
                assert key in GCP_FIELDS


@clouds
def test_nodes_scale_to_zero_and_their_number_is_limited(cloud):
    config = loaded(cloud)
    for name, kind in workers(config).items():
        assert kind["min_workers"] == 0 and kind["idle_timeout_s"] > 0, name
        assert 0 < kind["max_workers"] <= config["max_workers"]
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


@every
def test_mounted_files_exist(cloud):
    mounted = loaded(cloud)["file_mounts"]
    assert mounted["/srv/raysift/settings.yaml"] == "cluster/ray_up/settings.yaml"
    assert "~/.ray/auth_token" in mounted.values()
    for place, local in mounted.items():
        assert local.startswith("~/.ray") or (ROOT / local).exists(), local
        assert not local.startswith("~/.ray") or place in ("~/.ray/auth_token", "/run/secrets/ray_token")


def test_local_machines_get_every_package_and_the_files_to_install_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {package.split(".")[0] for package in project["tool"]["setuptools"]["packages"]} | {"raysift.py"}
    mounted = loaded("local")["file_mounts"]
    needed = ours | {"Makefile", "pyproject.toml", "requirements.lock", project["project"]["readme"]}
    assert {f"/srv/raysift/{name}": name for name in needed}.items() <= mounted.items()


@every
def test_every_command_and_option_exists(cloud, tmp_path):
    config = loaded(cloud)
    listed = [line for key, lines in config.items() if key.endswith("_commands") for line in lines]
    assert sum("serve deploy" in line for line in listed) == sum("--beside-ray" in line for line in listed) == 1
    for line in listed:
        for words in simple_commands(line):
            program = words[0]
            assert program in INSTALLED or shutil.which(program, path=str(ROOT / ".venv" / "bin")), line
            if words[:2] == ["ray", "start"]:
                known = {option for parameter in ray_start.params for option in parameter.opts}
                assert {word.split("=")[0] for word in words[2:]} <= known
            if program == "raysift":
                command = get_command(raysift.cli).commands[words[1]]
                assert set(words[2:]) <= {option for parameter in command.params for option in parameter.opts}
            if program == "serve":
                assert (ROOT / Path(words[2]).relative_to("/srv/raysift")).exists()


def simple_commands(line: str) -> list[list[str]]:
    """The argument list of each program of a shell line, without leading variable assignments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";|&"):
            commands.append([])
        elif commands[-1] or not re.match(r"\w+=", word):
            commands[-1].append(word)
    return [words for words in commands if words]


@every
def test_the_dashboard_listens_on_loopback_and_requires_the_token(cloud):
    config = loaded(cloud)
    (start,) = (line for line in config["head_start_ray_commands"] if "ray start --head" in line)
    assert "--dashboard-host=127.0.0.1" in start and "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    environment = (ROOT / "cluster" / "ray_up" / "environment.sh").read_text()
    assert "export RAY_AUTH_MODE=token" in environment
    assert any("ray_up/environment.sh >> ~/.bashrc" in line.replace("'", "") for line in config["setup_commands"])


def test_the_settings_of_the_cluster_are_valid():
    assert set(configs(settings())) == set(settings().detectors)
    assert settings().ray.gcs_port == 6379 and settings().state_dir == Path("/var/lib/raysift")


@clouds
def test_the_workers_of_a_job_fit_the_decode_nodes(cloud):
    scanning, decode = settings().scanning, loaded(cloud)["available_node_types"]["decode"]
    cpus = decode["resources"]["CPU"] * decode["max_workers"]
    assert 0.5 * cpus <= scanning.workers * scanning.worker_cpus < cpus


@clouds
def test_the_detectors_fit_the_gpus(cloud):
    ours = settings()
    groups, kinds = grouped(ours), [kind for kind in workers(loaded(cloud)).values() if "GPU" in kind["resources"]]
    gpu_shares = shares(groups, ours.ray.card_gb or 0)
    for kind in kinds:
        machine = kind["node_config"].get("InstanceType") or kind["node_config"]["machineType"]
        assert (ours.ray.card_gb or 0) <= CARDS_GB[machine]
        assert kind["resources"]["GPU"] == 1 and kind["docker"]["worker_image"].endswith(":gpu")
        cpus = sum(max(config.cpus for config in group.values()) for group in groups.values())
        assert cpus <= kind["resources"]["CPU"]
    cards = gpus.cards_needed(gpu_shares[name] for name, group in groups.items() for _ in range(most_replicas(group)))
    assert cards <= sum(kind["max_workers"] for kind in kinds)


@pytest.mark.parametrize(("cloud", "first", "then"), [("aws", "l4", "l40s"), ("gcp", "l4", "l4_on_demand")])
def test_cheaper_gpus_start_first_and_others_when_those_are_exhausted(cloud, first, then):
    config = loaded(cloud)
    most = {name: kind["max_workers"] for name, kind in workers(config).items()}
    assert planned(config, {"GPU": 1.0}, 1) == {first: 1}
    assert planned(config, {"GPU": 1.0}, most[first] + 1) == {first: most[first], then: 1}
    assert planned(config, {"CPU": 1.0}, 40) == {
        "decode": 40 // config["available_node_types"]["decode"]["resources"]["CPU"] + 1
    }


def planned(config: dict[str, Any], resources: dict[str, float], count: int) -> dict[str, int]:
    """Node type -> number of machines that Ray's autoscaler starts for `count` actors with these resources each."""
    kinds = AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs()
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=kinds,
        max_num_nodes=config["max_workers"] + 1,
        resource_requests=ResourceRequestUtil.group_by_count(
            [ResourceRequestUtil.make(resources) for _ in range(count)]
        ),
    )
    return {launch.instance_type: launch.count for launch in ResourceDemandScheduler().schedule(request).to_launch}


@pytest.mark.parametrize("refusal", ["InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded"])
def test_a_machine_without_spot_capacity_is_started_on_demand(refusal):
    requests = ec2_requests([refusal] * 5 + [None])
    assert ["InstanceMarketOptions" in request for request in requests] == [True] * 5 + [False]


def test_other_refusals_of_ec2_raise():
    with pytest.raises(NodeLaunchException):
        ec2_requests(["InvalidParameterValue"] * 5)


def test_spot_and_on_demand_workers_are_terminated_and_the_head_is_stopped():
    config = loaded("aws")
    provider = SpotElseOnDemand(config["provider"], config["cluster_name"])
    kinds = {"i-head": "head", "i-paid": "worker", "i-spot": "worker"}
    provider.tag_cache = {id: {"ray-node-type": kind} for id, kind in kinds.items()}
    head = provider.ec2.Instance("i-head")
    head.meta.data = {"InstanceId": "i-head"}  # EC2's description, without a spot request
    provider.cached_nodes = {"i-head": head}
    with Stubber(provider.ec2.meta.client) as ec2:
        ec2.add_response("stop_instances", {}, {"InstanceIds": ["i-head"]})
        ec2.add_response("terminate_instances", {}, {"InstanceIds": ["i-paid", "i-spot"]})
        provider.terminate_nodes(list(kinds))
        ec2.assert_no_pending_responses()


def ec2_requests(answers: list[str | None]) -> list[dict[str, Any]]:
    """The parameters of the provider's RunInstances calls, in order, to a stub of EC2.

    `answers`: for each call the code of a refusal, or None for a started machine.
    """
    config, requests = loaded("aws"), []
    uncached = config["provider"] | {"cache_stopped_nodes": False}  # no call to look for stopped machines
    provider = SpotElseOnDemand(uncached, config["cluster_name"])
    client = provider.ec2_fail_fast.meta.client
    client.meta.events.register("provide-client-params.ec2.RunInstances", lambda params, **_: requests.append(params))
    instance = {"InstanceId": "i-1", "State": {"Name": "pending"}, "StateReason": {"Message": "pending"}}
    with Stubber(client) as ec2:
        for code in answers:
            if code:
                ec2.add_client_error("run_instances", code, "no")
            else:
                ec2.add_response("run_instances", {"Instances": [instance]})
        provider.create_node(config["available_node_types"]["l4"]["node_config"] | {"SubnetIds": ["subnet-1"]}, {}, 1)
    return requests
