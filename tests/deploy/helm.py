"""A real Helm renders the chart: in a process of its own, as it is 85 MB of Go that would stay in this one.

`python -m tests.deploy.helm` reads a JSON object {"chart": path, "cases": {name: values}} and prints, for each case,
{"findings": [...], "manifests": {template: text}} or {"refused": message}.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.tools import ROOT, TIMEOUT_S, go_without

RELEASE, NAMESPACE = "night", "platform"
KUBE_VERSION = "v1.34.0"
WARNING = 2
"""Helm's number for it in what `lint` finds; below are hints, such as that an icon is recommended."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """What comes of the chart with some values; `refused`: why Helm takes them not, else None."""

    findings: list[str]
    manifests: dict[str, str]
    refused: str | None


def render(chart: Path, cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Rendered]:
    if importlib.util.find_spec("helm_python") is None:
        go_without("no helm_python (the wheel helm-python-sdk, of which there is none for this platform)")
    asked = json.dumps({"chart": str(chart), "cases": cases})
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.helm"],
        input=asked,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Rendered(**answer) for name, answer in json.loads(done.stdout).items()}


def _answer(helm: Any, chart: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        with helm.Chart.load(chart) as loaded:
            manifests = loaded.render(values, name=RELEASE, namespace=NAMESPACE)
        report = helm.lint(chart, values, strict=True, kube_version=KUBE_VERSION)
    except helm.HelmError as error:
        return {"findings": [], "manifests": {}, "refused": str(error)}
    findings = [f"{m['path']}: {m['error']}" for m in report["messages"] if m["severity"] >= WARNING]
    return {"findings": [*findings, *report["errors"]], "manifests": manifests, "refused": None}


def main() -> None:
    import helm_python

    asked = json.load(sys.stdin)
    answers = {name: _answer(helm_python, asked["chart"], values) for name, values in asked["cases"].items()}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
