"""A detector whose backend is another cluster: its settings, and how it is deployed here."""

import pytest

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.detector import OF_LOADED_MODELS, detector_class, names
from deployments.serving.deployment import deployments
from deployments.serving.placement import configs, grouped
from deployments.weights import references


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("profile", ["embedded", "gpu"])
def test_a_remote_detector_has_the_version_and_state_of_a_local_one(name, profile):
    kind = detector_class(name)
    remote = kind.Config(backend="remote", remote={"url": "https://gpus.example.com", "profile": profile})
    local = kind.Config(backend=profile)
    assert kind.version(remote.there) == kind.version(local) and kind.state(remote.there) == kind.state(local)
    assert remote.floor == local.floor
    assert not any(getattr(remote, key) for key in OF_LOADED_MODELS)
    assert kind.Config(**remote.model_dump()) == remote
    assert references.named(remote) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "remote"}, r"'remote\.url' is wrong: field required"),
        ({"remote": {"url": "https://a"}}, "'remote' is wrong: .*set backend: remote"),
        ({"backend": "remote", "remote": {"url": "gpus:8000"}}, r"'remote\.url' is wrong: .*no address"),
        ({"backend": "remote", "remote": {"url": "https://me:secret@a"}}, "it names a user"),
        ({"backend": "remote", "remote": {"url": "https://a", "user": "me"}}, "replaced by key_file"),
        ({"backend": "remote", "remote": {"url": "https://a", "profile": "tpu"}}, r"'remote\.profile' is wrong"),
        ({"backend": "remote", "remote": {"url": "https://a"}, "gpus": 0.5}, "'gpus' is wrong: .*remove it"),
        ({"backend": "remote", "remote": {"url": "https://a"}, "deadline_s": 300}, "more than half of deadline_s"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(given, message):
    with pytest.raises(SettingsError, match=message) as raised:
        configs(Settings(detectors={"nsfw": given}))
    assert "secret" not in str(raised.value)


def test_a_remote_detector_is_not_colocated_gets_no_gpu_and_takes_several_calls():
    remote = {"backend": "remote", "remote": {"url": "https://a", "max_in_flight": 6}}
    settings = Settings(profile="gpu", detectors={"logo": remote}, galleries_uri="file:///none")
    assert {"logo", "restraint"} <= grouped(settings).keys()
    deployed = {name: application._bound_deployment for name, application in deployments(settings, []).items()}
    assert deployed["logo"].ray_actor_options["num_gpus"] == 0
    assert deployed["logo"].max_ongoing_requests == 6 + 3 and deployed["restraint"].max_ongoing_requests == 1 + 3
