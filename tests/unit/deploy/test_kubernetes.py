"""The Kubernetes manifests: against the schemas, against each other, and against the code."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from harness.measure.settings import OPTIONS, PREFIX
from scoreboard import contract
from scoreboard.settings import describe, from_mapping
from server.routes.metrics_routes import METRICS_PATH, STATS_PATH
from server.routes.pages import ROUTES
from server.settings import ServerSettings
from tests.support.keda import SCALED_OBJECT
from worker.probes import WorkerState
from worker.settings import WorkerSettings

FOLDER = Path(__file__).parents[3] / "deploy/kubernetes"
KUSTOMIZATIONS = ("base", "locust", "example")
VERSIONS = ("1.29", "1.37")
"""Oldest and newest that the clusters of users may be."""

Manifest = dict[str, Any]


@cache
def documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomization(name: str) -> Manifest:
    [found] = documents(FOLDER / name / "kustomization.yaml")
    return found


def manifests(*names: str) -> Iterator[tuple[str, Manifest]]:
    """(where, manifest) of every resource of these kustomizations, without what they include."""
    for name in names or KUSTOMIZATIONS:
        for resource in kustomization(name)["resources"]:
            if resource.endswith(".yaml"):
                for found in documents(FOLDER / name / resource):
                    yield f"{name}/{resource}: {found['kind']} {found['metadata']['name']}", found


def of_kind(*kinds: str) -> dict[str, Manifest]:
    return {where: found for where, found in manifests() if found["kind"] in kinds}


def named(kind: str, name: str) -> Manifest:
    [found] = [m for m in of_kind(kind).values() if m["metadata"]["name"] == name]
    return found


def pods() -> Iterator[tuple[str, Manifest]]:
    for where, found in of_kind("Deployment").items():
        yield where, found["spec"]["template"]
    for where, found in of_kind("CronJob").items():
        yield where, found["spec"]["jobTemplate"]["spec"]["template"]


def settings_data() -> dict[str, str]:
    """What the generated ConfigMap `scoreboard` has."""
    [generator] = kustomization("base")["configMapGenerator"]
    assert generator["name"] == "scoreboard"
    lines = [
        line
        for name in generator["envs"]
        for line in (FOLDER / "base" / name).read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return dict(line.split("=", 1) for line in lines)


def containers() -> Iterator[tuple[str, Manifest]]:
    for where, pod in pods():
        for container in pod["spec"]["containers"]:
            yield where, container


def secrets_wanted() -> set[tuple[str, str]]:
    return {
        (
            variable["valueFrom"]["secretKeyRef"]["name"],
            variable["valueFrom"]["secretKeyRef"]["key"],
        )
        for _, container in containers()
        for variable in container.get("env", [])
        if "valueFrom" in variable
    }


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    by_value = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    return all(labels.get(key) == value for key, value in by_value.items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ())
    )


def selected(selector: Manifest) -> list[Manifest]:
    return [pod for _, pod in pods() if matches(selector, pod["metadata"]["labels"])]


def test_every_file_belongs_to_a_kustomization() -> None:
    listed = {
        f"{name}/{resource}"
        for name in KUSTOMIZATIONS
        for resource in kustomization(name)["resources"]
    }
    files = {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.glob("*/*.yaml")
        if path.name != "kustomization.yaml" and not path.name.endswith("-values.yaml")
    }

    assert listed - files == {"example/../base"}
    assert files - listed == set()
    assert len(list(manifests())) >= 20


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("where", "manifest"), [pytest.param(w, m, id=w) for w, m in manifests()])
def test_manifests_fit_the_schema(where: str, manifest: Manifest, version: str) -> None:
    if manifest["apiVersion"].startswith("keda.sh/"):
        jsonschema.Draft202012Validator(SCALED_OBJECT).validate(manifest)
        return
    used = kubernetes_validate.validate(manifest, version, strict=True)

    assert used == version, where


def test_the_schemas_do_refuse() -> None:
    service = named("Service", "scoreboard-server") | {"spec": {"port": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[1], strict=True)

    scaled = named("ScaledObject", "scoreboard-worker")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCALED_OBJECT).validate(scaled | {"spec": {}})


def test_selectors_find_their_pods() -> None:
    for where, found in of_kind("Deployment").items():
        selector = found["spec"]["selector"]["matchLabels"]
        assert matches(selector, found["spec"]["template"]["metadata"]["labels"]), where
        assert len(selected(selector)) == 1, where
    for where, found in of_kind("Service").items():
        assert len(selected(found["spec"]["selector"])) == 1, where
    for where, found in of_kind("PodDisruptionBudget").items():
        assert len(selected(found["spec"]["selector"])) == 1, where
    for where, found in of_kind("NetworkPolicy").items():
        assert selected(found["spec"]["podSelector"]), where


def test_ports_by_name_exist() -> None:
    for where, found in of_kind("Service").items():
        [pod] = selected(found["spec"]["selector"])
        names = {p["name"] for c in pod["spec"]["containers"] for p in c["ports"]}
        assert {p["targetPort"] for p in found["spec"]["ports"]} <= names, where
    for where, container in containers():
        names = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container:
                assert container[probe]["httpGet"]["port"] in names, where


def test_scalers_own_the_replicas_of_deployments_that_exist() -> None:
    for where, found in of_kind("HorizontalPodAutoscaler", "ScaledObject").items():
        target = named("Deployment", found["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], where
    hpa = named("HorizontalPodAutoscaler", "scoreboard-server")["spec"]
    assert 2 <= hpa["minReplicas"] < hpa["maxReplicas"]
    [cpu] = hpa["metrics"]
    assert cpu["resource"]["name"] == "cpu"


def test_the_worker_scales_by_the_queue_it_polls_without_tls() -> None:
    [trigger] = named("ScaledObject", "scoreboard-worker")["spec"]["triggers"]
    settings = settings_data()

    assert trigger["metadata"]["taskQueue"] == settings["SCOREBOARD_TASK_QUEUE"]
    assert trigger["metadata"]["taskQueue"] == contract.TASK_QUEUE
    assert trigger["metadata"]["endpoint"] == settings["SCOREBOARD_TEMPORAL_ADDRESS"]
    assert trigger["metadata"]["namespace"] == settings["SCOREBOARD_TEMPORAL_NAMESPACE"]
    assert trigger["metadata"]["enableTLS"] == "false"


def test_manifests_set_only_variables_that_processes_read() -> None:
    ours = {name for kind in (ServerSettings, WorkerSettings) for name, _, _ in describe(kind)}
    given = set(settings_data())
    for where, container in containers():
        if "locust" not in where:
            given |= {variable["name"] for variable in container["env"]}

    assert given <= ours


def test_every_variable_of_the_load_test_is_one_of_its_options() -> None:
    options = {PREFIX + flag[2:].upper().replace("-", "_") for flag, *_ in OPTIONS}
    given = set(named("ConfigMap", "scoreboard-locust")["data"])
    for where, container in containers():
        if "locust" in where:
            given |= {variable["name"] for variable in container.get("env", [])}

    assert given - options == {"LOCUST_HOST", "SCOREBOARD_JWT_SECRET"}


def test_processes_start_with_the_environment_of_the_manifests() -> None:
    secrets = {
        "SCOREBOARD_MYSQL_URL": "mysql://user:password@mysql.databases:3306/scoreboard",
        "SCOREBOARD_REDIS_URL": "redis://:password@redis.databases:6379/0",
        "SCOREBOARD_JWT_SECRET": "s" * 32,
    }
    data = settings_data()
    given = {}
    for where, container in containers():
        names = {variable["name"] for variable in container.get("env", [])}
        given[where.split()[-1]] = data | {name: secrets[name] for name in names & set(secrets)}

    server = from_mapping(ServerSettings, given["scoreboard-server"])
    worker = from_mapping(WorkerSettings, given["scoreboard-worker"])

    [http] = [p for w, c in containers() if w.endswith("scoreboard-server") for p in c["ports"]]
    assert (server.host, server.port) == ("0.0.0.0", http["containerPort"])
    [metrics] = [p for w, c in containers() if w.endswith("scoreboard-worker") for p in c["ports"]]
    assert (worker.metrics_host, worker.metrics_port) == ("0.0.0.0", metrics["containerPort"])
    grace = named("Deployment", "scoreboard-server")["spec"]["template"]["spec"]
    assert grace["terminationGracePeriodSeconds"] > server.drain_notice_s + server.drain_timeout_s


def test_the_notice_is_long_enough_to_be_noticed() -> None:
    [server] = [c for w, c in containers() if w.endswith("scoreboard-server")]
    probe = server["readinessProbe"]
    settings = settings_data()

    noticed_s = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed_s < float(settings["SCOREBOARD_DRAIN_NOTICE_S"])


def test_a_workers_probes_are_those_that_its_port_answers() -> None:
    [worker] = [c for w, c in containers() if w.endswith("scoreboard-worker")]
    state = WorkerState()
    state.polling = True

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert state.answer(worker[probe]["httpGet"]["path"])[0] == 200
    assert worker["livenessProbe"]["httpGet"]["path"] != METRICS_PATH


def test_redis_refuses_before_the_kernel_kills_it() -> None:
    [values] = documents(FOLDER / "example/redis-values.yaml")
    config = dict(
        line.split(maxsplit=1)
        for line in values["config"]["content"].splitlines()
        if line and not line.startswith("#")
    )

    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == "1536mb"
    assert values["resources"]["limits"]["memory"] == "2Gi"


@pytest.mark.parametrize(
    ("variable", "port"), [("SCOREBOARD_JWKS", 443), ("SCOREBOARD_OTLP_ENDPOINT", 4318)]
)
def test_what_documented_settings_reach_is_not_cut_off(variable: str, port: int) -> None:
    assert variable in {name for name, _, _ in describe(ServerSettings)}
    ways = [
        policy
        for policy in of_kind("NetworkPolicy").values()
        if matches(policy["spec"]["podSelector"], {"app.kubernetes.io/name": "scoreboard-server"})
        for rule in policy["spec"].get("egress", ())
        if port in {each["port"] for each in rule["ports"]}
    ]

    assert ways


def test_limits_per_address_see_past_the_ingress() -> None:
    assert (
        from_mapping(
            ServerSettings,
            {
                **settings_data(),
                "SCOREBOARD_MYSQL_URL": "mysql://h/d",
                "SCOREBOARD_REDIS_URL": "redis://h",
                "SCOREBOARD_JWT_SECRET": "s" * 32,
            },
        ).proxies_count
        == 1
    )


@pytest.mark.parametrize("kubectl", [path for path in [shutil.which("kubectl")] if path])
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_renders_with_the_settings_hash_in_every_reference(
    kubectl: str, name: str
) -> None:
    done = subprocess.run(
        [kubectl, "kustomize", str(FOLDER / name)], capture_output=True, text=True, check=True
    )
    rendered = [each for each in yaml.safe_load_all(done.stdout) if each]

    made = {each["metadata"]["name"] for each in rendered if each["kind"] == "ConfigMap"}
    assert set(re.findall(r"configMapRef:\s+name: (\S+)", done.stdout)) <= made
    if name != "locust":
        assert any(re.fullmatch(r"scoreboard-[a-z0-9]{10}", each) for each in made)


def test_probes_and_scrapes_ask_for_paths_that_exist() -> None:
    source = (Path(__file__).parents[3] / "server/routes/health.py").read_text()
    [server] = [c for w, c in containers() if w.endswith("scoreboard-server")]

    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for path in ("/healthz", "/readyz"):
        assert f'"{path}"' in source
    for where, pod in pods():
        annotations = pod["metadata"].get("annotations", {})
        if annotations.get("prometheus.io/scrape") == "true":
            ports = {str(p["containerPort"]) for c in pod["spec"]["containers"] for p in c["ports"]}
            assert annotations["prometheus.io/port"] in ports, where
            assert annotations["prometheus.io/path"] == METRICS_PATH


def test_ingress_passes_only_public_paths() -> None:
    [rule] = named("Ingress", "scoreboard")["spec"]["rules"]
    paths = rule["http"]["paths"]

    def passes(path: str) -> bool:
        return any(
            path == rule["path"]
            if rule["pathType"] == "Exact"
            else path == rule["path"] or path.startswith(rule["path"] + "/")
            for rule in paths
        )

    public = {contract.SCORES_PATH, contract.UPDATE_PATH, contract.STREAM_PATH}
    public |= {contract.OUTCOMES_PATH, contract.USERS_PATH, "/", "/assets/app.js"}
    public |= {"/docs", "/openapi.json"}
    inside = {METRICS_PATH, STATS_PATH, contract.REVIEWS_PATH, "/operator", "/healthz"}
    assert {path for path in public if passes(path)} == public
    assert {path for path in inside if passes(path)} == set()
    assert {path for path in ROUTES if not passes(path)} == {"/operator", "/favicon.ico"}
    services = {rule["backend"]["service"]["name"] for rule in paths}
    assert services == {"scoreboard-server"}


def test_pods_are_as_restricted_as_their_namespace_demands() -> None:
    for where, pod in pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, where
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", where
        assert named("ServiceAccount", spec["serviceAccountName"])
    for where, container in containers():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["readOnlyRootFilesystem"] is True, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
        assert "memory" in container["resources"]["limits"], where


def test_secrets_are_named_and_never_written_down() -> None:
    assert of_kind("Secret") == {}
    assert secrets_wanted() == {
        ("scoreboard-load", "mysql-url"),
        ("scoreboard-services", "mysql-url"),
        ("scoreboard-services", "redis-url"),
        ("scoreboard-temporal", "api-key"),
        ("scoreboard-tokens", "jwt-secret"),
    }
    readme = (FOLDER / "README.md").read_text()
    for name, key in secrets_wanted():
        assert re.search(rf"create secret generic {name}\b", readme)
        assert f"--from-literal={key}=" in readme


def test_images_are_pinned_by_the_kustomizations() -> None:
    for name in KUSTOMIZATIONS:
        for image in kustomization(name)["images"]:
            assert re.fullmatch(r"\d+\.\d+\.\d+", image["newTag"])
    pinned = {image["name"] for name in KUSTOMIZATIONS for image in kustomization(name)["images"]}
    assert {container["image"] for _, container in containers()} == pinned


def test_traffic_is_refused_by_default_and_allowed_both_ways() -> None:
    default = named("NetworkPolicy", "nothing-by-default")["spec"]
    assert default["podSelector"] == {}
    assert set(default["policyTypes"]) == {"Ingress", "Egress"}
    policies = of_kind("NetworkPolicy").values()
    for app, ports in {
        # The documented addresses outside: public keys (443) and a collector of traces (4318).
        "scoreboard-server": {3306, 6379, 7233, 443, 4318},
        "scoreboard-worker": {3306, 6379, 7233, 4318},
        "scoreboard-seed": {3306, 6379, 7233},
        "scoreboard-locust": {3000, 5557, 3306},
    }.items():
        allowed = {
            port["port"]
            for policy in policies
            if matches(policy["spec"]["podSelector"], {"app.kubernetes.io/name": app})
            for rule in policy["spec"].get("egress", ())
            for port in rule["ports"]
        }
        assert allowed == ports | {53}, app


def test_names_are_asked_of_the_cluster_and_of_a_nodes_cache() -> None:
    [rule] = named("NetworkPolicy", "names-for-all")["spec"]["egress"]

    asked = {key for target in rule["to"] for key in target}
    assert asked == {"namespaceSelector", "podSelector", "ipBlock"}


def test_nothing_applied_twice_has_a_template_that_cannot_change() -> None:
    """A Job's template is immutable: a second apply with another image would fail."""
    assert of_kind("Job") == {}
    assert named("CronJob", "scoreboard-seed")["spec"]["suspend"] is True


@pytest.mark.parametrize("name", ["temporal", "mysql", "redis"])
def test_values_for_the_public_charts_hold_no_password(name: str) -> None:
    [values] = documents(FOLDER / f"example/{name}-values.yaml")
    text = yaml.safe_dump(values)

    assert not re.search(r"(?i)\bpassword: (?!password$)\S", text.replace("SecretKey", ""))


def test_temporals_store_is_where_the_example_makes_it() -> None:
    [values] = documents(FOLDER / "example/temporal-values.yaml")
    readme = (FOLDER / "README.md").read_text()
    stores = values["server"]["config"]["persistence"]["datastores"]

    for store in stores.values():
        release, _, namespace = store["sql"]["connectAddr"].split(":")[0].partition(".")
        assert (
            f"helm install {release} mysql/mysql-innodbcluster -n {namespace.split('.')[0]}"
            in readme
        )
        assert f"create secret generic {store['sql']['existingSecret']}" in readme
