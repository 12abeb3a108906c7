"""Workers as the chart's pods, and a `kubectl` that knows what the runbook types: there is no Kubernetes here.

It does to workers what Kubernetes would, and says what kubectl says: pods are named by number, are started again under
their names, and are killed where they do not end when they are told to.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tests.processes import STOP_TIMEOUT_S, ThreadWorker, WorkerProcess
from worker.settings import Settings

NAME: Final = "restore-projector"
"""Of the StatefulSet, in an installation of the chart under this name."""


class Pod(Protocol):
    """A worker that can be started and ended."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def log(self) -> str: ...


class Process:
    """A worker in a process, with its pod's name as its instance: static member of its group."""

    def __init__(self, settings: Settings, log: Path, name: str) -> None:
        self.worker = WorkerProcess(
            settings, log, RESTORE_PROJECTOR_KAFKA__INSTANCE=name, RESTORE_PROJECTOR_KAFKA__SESSION_TIMEOUT_MS="60000"
        )
        self._hangs = False

    def start(self) -> None:
        self.worker.start()

    def hang(self) -> None:
        self.worker.signal(signal.SIGSTOP)
        self._hangs = True

    def stop(self) -> None:
        if self._hangs or not self.worker.alive:
            self.worker.kill()
        else:
            self.worker.signal(signal.SIGTERM)
            self.worker.wait(STOP_TIMEOUT_S)
        self._hangs = False

    def log(self) -> str:
        return self.worker.log.read_text()


class Thread:
    """A worker in this process, where a test can hold it up. It leaves its group when it ends, and has no log."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.worker = ThreadWorker(settings)

    def start(self) -> None:
        self.worker = ThreadWorker(self._settings)
        self.worker.start()

    def stop(self) -> None:
        self.worker.stop()

    def log(self) -> str:
        return ""


class Pods:
    """Those of one StatefulSet. `make` makes the pod of a name; `undo`: what taking back an update changes."""

    def __init__(self, make: Callable[[str], Pod], undo: Callable[[], None] = lambda: None) -> None:
        self._make = make
        self._undo = undo
        self.running: dict[str, Pod] = {}

    def scale(self, count: int) -> None:
        wanted = [f"{NAME}-{number}" for number in range(count)]
        for name in reversed(self.running):
            if name not in wanted:
                self.running[name].stop()
        self.running = {name: self.running.get(name) or self._started(name) for name in wanted}

    def _started(self, name: str) -> Pod:
        pod = self._make(name)
        pod.start()
        return pod

    def kubectl(self, words: list[str]) -> str:
        """What it prints. SystemExit for what it does not know, as argparse has it."""
        told = _parser().parse_args(words)
        match told.verb, told.of:
            case "get", "pods":
                rows = [f"{name}   1/1     Running" for name in self.running]
                return "\n".join(["NAME                  READY   STATUS", *rows]) if rows else "No resources found"
            case "logs", name:
                return self.running[name].log()
            case "delete", "pod":
                self.running[told.name].stop()
                self.running[told.name].start()
                return f'pod "{told.name}" deleted'
            case "scale", "statefulset":
                self.scale(told.replicas)
                return f"statefulset.apps/{told.name} scaled"
            case "rollout", "status":
                return f"statefulset rolling update complete {len(self.running)} pods at revision {told.name}-1..."
            case "rollout", "undo":
                count = len(self.running)
                self.scale(0)
                self._undo()
                self.scale(count)
                return f"statefulset.apps/{told.name} rolled back"
            case _:
                raise AssertionError(f"kubectl {' '.join(words)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    get = verbs.add_parser("get")
    get.add_argument("of", choices=["pods"])
    get.add_argument("--selector", choices=["app.kubernetes.io/component=worker"], required=True)
    logs = verbs.add_parser("logs")
    logs.add_argument("of")
    logs.add_argument("--tail", type=int, required=True)
    logs.add_argument("--previous", action="store_true")
    delete = verbs.add_parser("delete")
    delete.add_argument("of", choices=["pod"])
    delete.add_argument("name")
    scale = verbs.add_parser("scale")
    scale.add_argument("of", choices=["statefulset"])
    scale.add_argument("name", choices=[NAME])
    scale.add_argument("--replicas", type=int, required=True)
    rollout = verbs.add_parser("rollout")
    rollout.add_argument("of", choices=["status", "undo"])
    rollout.add_argument("kind", choices=["statefulset"])
    rollout.add_argument("name", choices=[NAME])
    rollout.add_argument("--timeout", choices=["10s"])
    return parser
