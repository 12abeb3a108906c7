"""The Helm chart: rendered by a real Helm with several values, and looked at as Kubernetes and the worker would."""

from __future__ import annotations

import functools
import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from contracts.topics import TOPICS, Topics
from tests.deploy.commands import options
from tests.deploy.helm import NAMESPACE, Rendered, render
from tests.deploy.settings import taken
from tests.deploy.test_image import FINAL, PROJECT
from tests.deploy.tools import DEPLOY
from tests.security.certificates import Authority
from worker.cli.run import STOP_LIMIT_S
from worker.health import Health, HealthServer
from worker.metrics import Metrics

CHART = DEPLOY / "helm" / "restore-projector"
NAME = "night-restore-projector"

RUNBOOK = "https://git.example.org/restore-projector/deploy/runbook.md"
MINIMAL: dict[str, Any] = {
    "kafka": {"bootstrapServers": "kafka-0:9092,kafka-1:9092"},
    "redis": {"urlSecret": {"name": "redis"}},
}
SECURE: dict[str, Any] = {
    "bootstrapServers": "kafka:9093",
    "securityProtocol": "SASL_SSL",
    "saslMechanism": "SCRAM-SHA-512",
    "saslSecret": {"name": "kafka-user", "usernameKey": "name", "passwordKey": "word"},
    "tlsSecret": {"name": "kafka-tls", "certKey": "tls.crt", "keyKey": "tls.key"},
}
CASES: dict[str, dict[str, Any]] = {
    "minimal": MINIMAL,
    "secured and scaled by KEDA": {
        "image": {"repository": "images/restore-projector", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "images"}],
        "kafka": SECURE,
        "topics": {"prefix": "night", "create": {"enabled": True, "partitions": 24}},
        "redis": {"urlSecret": {"name": "redis", "key": "address"}, "namespace": "night"},
        "settings": {"LIMITS__BATCH_RECORDS": 2000, "KAFKA__SESSION_TIMEOUT_MS": 30000},
        "autoscaling": {"type": "keda", "minReplicas": 2, "maxReplicas": 24},
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "runbook": RUNBOOK},
            "dashboard": {"enabled": True},
        },
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "kafka": {"ports": [9093, 9094], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        },
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "restore"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "priorityClassName": "high",
        "extraVolumes": [{"name": "redis-ca", "secret": {"secretName": "redis-ca"}}],
        "extraVolumeMounts": [{"name": "redis-ca", "mountPath": "/etc/redis-tls", "readOnly": True}],
    },
    "scaled by CPU, Redis without password, TLS to Kafka": {
        "kafka": {"bootstrapServers": "kafka:9093", "securityProtocol": "SSL", "tlsSecret": {"name": "kafka-tls"}},
        "redis": {"url": "redis://redis:6379/3"},
        "autoscaling": {"type": "hpa"},
        "serviceAccount": {"create": False, "name": "projector"},
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "networkPolicy": {"enabled": True},
        "http": {"port": 8080},
        "affinity": {"nodeAffinity": {}},
    },
    "scaled by lag from Prometheus, nothing optional": {
        **MINIMAL,
        "autoscaling": {
            "type": "hpa",
            "hpa": {
                "metrics": [
                    {
                        "type": "External",
                        "external": {
                            "metric": {"name": "lag"},
                            "target": {"type": "AverageValue", "averageValue": "1k"},
                        },
                    }
                ]
            },
        },
        "podDisruptionBudget": {"enabled": False},
        "topologySpreadConstraints": [
            {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
        ],
    },
    "KEDA with the image's own authorities": {
        **MINIMAL,
        "kafka": {"bootstrapServers": "kafka:9093", "securityProtocol": "SSL"},
        "autoscaling": {"type": "keda"},
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "no Kafka": {"redis": MINIMAL["redis"]},
    "no Redis": {"kafka": MINIMAL["kafka"]},
    "SASL without a Secret": {**MINIMAL, "kafka": {**SECURE, "saslSecret": {"name": ""}}},
    "SASL without a mechanism": {**MINIMAL, "kafka": {**SECURE, "saslMechanism": ""}},
    "a password in the URL of Redis": {**MINIMAL, "redis": {"url": "redis://worker:secret@redis:6379/0"}},
    "a password among the settings": {**MINIMAL, "settings": {"KAFKA__SASL_PASSWORD": "secret"}},
    "a setting that the chart sets": {**MINIMAL, "settings": {"KAFKA__INSTANCE": "same"}},
    "too little time to end": {**MINIMAL, "terminationGracePeriodSeconds": 10},
    "scaled to nobody": {**MINIMAL, "autoscaling": {"type": "keda", "minReplicas": 0}},
    "a misspelt value": {**MINIMAL, "replica": 3},
    "a section of the runbook": {**MINIMAL, "monitoring": {"rules": {"runbook": f"{RUNBOOK}#stuck"}}},
}
FOREIGN_KINDS = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
"""Of KEDA and of the Prometheus Operator: Kubernetes itself has no schema of them."""
KUBERNETES = ("1.27", "1.37")


@pytest.fixture(scope="module")
def rendered() -> dict[str, Rendered]:
    return render(CHART, CASES | REFUSED)


@functools.cache
def documents(rendered: Rendered) -> list[dict[str, Any]]:
    """Not to be changed: all tests share them."""
    texts = [text for name, text in rendered.manifests.items() if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(rendered: Rendered, kind: str) -> list[dict[str, Any]]:
    return [document for document in documents(rendered) if document["kind"] == kind]


def the(rendered: Rendered, kind: str) -> dict[str, Any]:
    (document,) = of_kind(rendered, kind)
    return document


def pods(rendered: Rendered) -> Iterator[dict[str, Any]]:
    """Each pod that the chart makes: `metadata` and `spec`."""
    for document in documents(rendered):
        if document["kind"] in {"StatefulSet", "Job"}:
            yield document["spec"]["template"]
        elif document["kind"] == "Pod":
            yield document


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    found: dict[str, Any] = container
    return found


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_complain_of(rendered: dict[str, Rendered], case: str) -> None:
    assert rendered[case].refused is None
    assert rendered[case].findings == []


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_cannot_work_are_refused(rendered: dict[str, Rendered], case: str) -> None:
    assert "don't meet the specifications of the schema" in (rendered[case].refused or "")


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_what_is_rendered(rendered: dict[str, Rendered], version: str) -> None:
    seen: list[dict[str, Any]] = []
    for case in CASES:
        for document in documents(rendered[case]):
            if document["kind"] not in FOREIGN_KINDS and document not in seen:
                kubernetes_validate.validate(document, version, strict=True)
                seen.append(document)
    assert {document["kind"] for document in seen} >= {"StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Job"}


@pytest.mark.parametrize("case", CASES)
def test_no_key_is_given_twice(rendered: dict[str, Rendered], case: str) -> None:
    """Kubernetes takes the last one, and says nothing."""
    config = YamlLintConfig("rules: {key-duplicates: enable}")
    texts = [text for name, text in rendered[case].manifests.items() if name.endswith(".yaml")]

    assert [problem for text in texts for problem in linter.run(text, config)] == []


@pytest.mark.parametrize("case", CASES)
def test_names_and_namespaces_are_the_releases(rendered: dict[str, Rendered], case: str) -> None:
    for document in documents(rendered[case]):
        assert document["metadata"]["name"].startswith(NAME)
        assert document["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize("case", CASES)
def test_every_pod_has_settings_that_the_worker_takes(
    rendered: dict[str, Rendered], case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {"RESTORE_PROJECTOR_REDIS__URL": "rediss://worker:secret@redis:6379/0"}
    for pod in pods(rendered[case]):
        environment = {}
        for variable in container(pod)["env"]:
            name = variable["name"]
            assert name not in environment, f"{name} is given twice"
            environment[name] = variable.get("value") or values.get(name, "from-a-reference")
            if environment[name].startswith("/etc/kafka-tls/"):
                environment[name] = _placed(tmp_path, environment[name])

        settings = taken(FINAL.variables("ENV") | environment, monkeypatch, tmp_path)

        assert settings.topics.prefix == CASES[case].get("topics", {}).get("prefix", "restore")
        assert settings.limits.batch_records == (2000 if "settings" in CASES[case] else 5000)


def _placed(folder: Path, name: str) -> str:
    """A file of that name, as the settings are only taken if it holds what it should."""
    file = folder / Path(name).name
    if not file.exists():
        authority = Authority(folder, secrets.token_hex(4), "from-a-reference")
        client = authority.issue("client")
        held = {"ca.crt": authority.file.read_text(), "tls.crt": client.certificate.read_text()}
        held["tls.key"] = client.key.read_text()
        for of_these, text in held.items():
            (folder / of_these).write_text(text)
    return str(file)


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_in_what_is_rendered(rendered: dict[str, Rendered], case: str) -> None:
    for pod in pods(rendered[case]):
        by_name = {variable["name"].partition("_PROJECTOR_")[2]: variable for variable in container(pod)["env"]}
        for name, variable in by_name.items():
            if "PASSWORD" in name or name == "KAFKA__SASL_USERNAME":
                assert "secretKeyRef" in variable["valueFrom"]
        if "urlSecret" in CASES[case]["redis"]:
            assert by_name["REDIS__URL"]["valueFrom"]["secretKeyRef"]["name"] == "redis"


@pytest.mark.parametrize("case", CASES)
def test_a_worker_keeps_its_name_over_restarts(rendered: dict[str, Rendered], case: str) -> None:
    stateful = the(rendered[case], "StatefulSet")["spec"]
    by_name = {variable["name"]: variable for variable in container(stateful["template"])["env"]}

    assert by_name["RESTORE_PROJECTOR_KAFKA__INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert stateful["serviceName"] == the(rendered[case], "Service")["metadata"]["name"]
    assert stateful["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize("case", CASES)
def test_a_worker_has_time_to_end_in_order(rendered: dict[str, Rendered], case: str) -> None:
    pod = the(rendered[case], "StatefulSet")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] >= max(15, STOP_LIMIT_S)


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted(rendered: dict[str, Rendered], case: str) -> None:
    """As the Pod Security Standard of that name has it, and without a token for Kubernetes."""
    for pod in pods(rendered[case]):
        spec, secured = pod["spec"], container(pod)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == FINAL.one("USER")
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert secured["allowPrivilegeEscalation"] is False
        assert secured["readOnlyRootFilesystem"] is True
        assert secured["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", CASES)
def test_every_pod_has_bounded_memory_and_the_same_image(rendered: dict[str, Rendered], case: str) -> None:
    image = CASES[case].get("image", {})
    expected = f"{image['repository']}@{image['digest']}" if image else f"{PROJECT['name']}:{PROJECT['version']}"
    for pod in pods(rendered[case]):
        assert "memory" in container(pod)["resources"]["limits"]
        assert container(pod)["image"] == expected


@pytest.mark.parametrize("case", CASES)
def test_what_is_mounted_is_there(rendered: dict[str, Rendered], case: str) -> None:
    for pod in pods(rendered[case]):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        mounts = {mount["name"] for mount in container(pod).get("volumeMounts", [])}
        assert mounts == volumes


@pytest.mark.parametrize("case", CASES)
def test_the_probes_ask_for_what_a_worker_answers(rendered: dict[str, Rendered], case: str) -> None:
    worker = container(the(rendered[case], "StatefulSet")["spec"]["template"])
    (port,) = worker["ports"]
    by_name = {variable["name"]: variable.get("value") for variable in worker["env"]}

    assert by_name["RESTORE_PROJECTOR_HTTP__PORT"] == str(port["containerPort"])
    assert by_name["RESTORE_PROJECTOR_HTTP__HOST"] == "0.0.0.0"
    assert worker["livenessProbe"]["httpGet"] == {"path": "/livez", "port": port["name"]}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    assert the(rendered[case], "Service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_a_worker_that_starts_is_alive_and_not_ready() -> None:
    with HealthServer("127.0.0.1", 0, Health(), Metrics()) as server:
        assert _status(server.port, "/livez") == 200
        assert _status(server.port, "/readyz") == 503
        assert _status(server.port, "/metrics") == 200


def _status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("case", CASES)
def test_services_and_budgets_find_the_workers_and_no_other_pod(rendered: dict[str, Rendered], case: str) -> None:
    stateful = the(rendered[case], "StatefulSet")["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    others = [pod["metadata"]["labels"] for pod in pods(rendered[case]) if pod is not stateful["template"]]
    selectors = [stateful["selector"]["matchLabels"], the(rendered[case], "Service")["spec"]["selector"]]
    selectors += [
        budget["spec"]["selector"]["matchLabels"] for budget in of_kind(rendered[case], "PodDisruptionBudget")
    ]
    others = [pod for pod in others if pod["app.kubernetes.io/component"] != "worker"]

    assert others
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not [pod for pod in others if selector.items() <= pod.items()]


@pytest.mark.parametrize("case", CASES)
def test_a_network_policy_holds_for_all_pods_and_lets_out_to_names_kafka_and_redis(
    rendered: dict[str, Rendered], case: str
) -> None:
    for policy in of_kind(rendered[case], "NetworkPolicy"):
        spec = policy["spec"]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        for pod in pods(rendered[case]):
            assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        out = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        given = CASES[case]["networkPolicy"]
        assert out == {53, 6379, *given.get("kafka", {"ports": [9092]})["ports"]}
        assert [rule.get("to") for rule in spec["egress"]][1] == given.get("kafka", {}).get("to")
        assert spec["ingress"][0].get("from") == given.get("metricsFrom")


@pytest.mark.parametrize("case", CASES)
def test_who_scales_says_how_many_workers_there_are(rendered: dict[str, Rendered], case: str) -> None:
    """A number in the StatefulSet would undo, at every upgrade, what the scaler has done."""
    scaling = CASES[case].get("autoscaling", {"type": "none"})["type"]
    scalers = {"none": [], "keda": ["ScaledObject"], "hpa": ["HorizontalPodAutoscaler"]}[scaling]
    found = [d for d in documents(rendered[case]) if d["kind"] in {"ScaledObject", "HorizontalPodAutoscaler"}]

    assert [document["kind"] for document in found] == scalers
    assert ("replicas" in the(rendered[case], "StatefulSet")["spec"]) == (scaling == "none")
    for document in found:
        assert document["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": NAME}


def test_keda_looks_at_the_lag_of_the_sources_as_the_same_user(rendered: dict[str, Rendered]) -> None:
    case = rendered["secured and scaled by KEDA"]
    triggers = the(case, "ScaledObject")["spec"]["triggers"]
    topics = Topics("night")

    asked = [trigger["metadata"] for trigger in triggers]
    assert [one["topic"] for one in asked] == [topics.name(row) for row in TOPICS if row.entity is not None]
    assert {one["consumerGroup"] for one in asked} == {"restore-projector"}
    assert {(one["sasl"], one["tls"]) for one in asked} == {("scram_sha512", "enable")}
    assert {trigger["authenticationRef"]["name"] for trigger in triggers} == {NAME}
    secrets = {
        s["parameter"]: (s["name"], s["key"]) for s in the(case, "TriggerAuthentication")["spec"]["secretTargetRef"]
    }
    assert secrets == {
        "username": ("kafka-user", "name"),
        "password": ("kafka-user", "word"),
        "ca": ("kafka-tls", "ca.crt"),
        "cert": ("kafka-tls", "tls.crt"),
        "key": ("kafka-tls", "tls.key"),
    }


def test_keda_needs_no_secret_where_the_worker_needs_none(rendered: dict[str, Rendered]) -> None:
    case = rendered["KEDA with the image's own authorities"]

    assert not of_kind(case, "TriggerAuthentication")
    assert not [t for t in the(case, "ScaledObject")["spec"]["triggers"] if "authenticationRef" in t]


def test_alerts_link_to_where_the_runbook_is_read(rendered: dict[str, Rendered]) -> None:
    case = rendered["secured and scaled by KEDA"]
    links = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for rule in the(case, "PrometheusRule")["spec"]["groups"][0]["rules"]
    }

    assert links["RestoreProjectorGone"] == f"{RUNBOOK}#no-worker"
    assert all(link.startswith(f"{RUNBOOK}#") for link in links.values())


def test_monitoring_is_what_lies_beside_the_chart(rendered: dict[str, Rendered]) -> None:
    case = rendered["secured and scaled by KEDA"]
    (dashboard,) = the(case, "ConfigMap")["data"].values()

    alerts = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
    assert the(case, "PrometheusRule")["spec"] == yaml.safe_load(
        alerts.replace(": deploy/runbook.md#", f": {RUNBOOK}#")
    )
    assert json.loads(dashboard) == json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    monitor = the(case, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= the(case, "Service")["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == the(case, "Service")["spec"]["ports"][0]["name"]


@pytest.mark.parametrize("case", CASES)
def test_every_command_is_one_that_we_have(rendered: dict[str, Rendered], case: str) -> None:
    for pod in pods(rendered[case]):
        options(container(pod)["args"])
    notes = rendered[case].manifests["restore-projector/templates/NOTES.txt"]
    for line in re.findall(r"-- restore-projector (.+)", notes):
        options(line.split())
    assert f"{NAME}-0" in notes


def test_the_job_makes_as_many_partitions_as_were_asked_for(rendered: dict[str, Rendered]) -> None:
    job = the(rendered["secured and scaled by KEDA"], "Job")

    made = options(container(job["spec"]["template"])["args"])
    assert (made["partitions"], made["replication_factor"]) == (24, 3)
    assert not of_kind(rendered["minimal"], "Job")


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == PROJECT["version"]
    assert PROJECT["description"].startswith(chart["description"])


def test_every_value_is_in_the_schema_and_every_one_of_the_schema_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert set(_value_paths(values, schema)) == set(_schema_paths(schema, schema)) - {"global"}


def _value_paths(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    closed = set(_schema_paths(schema, schema))
    for name, value in values.items():
        here = f"{path}{name}"
        yield here
        if isinstance(value, dict) and any(other.startswith(f"{here}.") for other in closed):
            yield from _value_paths(value, schema, f"{here}.")


def _schema_paths(node: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}"
        yield from _schema_paths(child, schema, f"{path}{name}.")
