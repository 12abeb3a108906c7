"""Certificates for tests, made by openssl in a few milliseconds each: an authority, and what it vouches for."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.tools import go_without
from worker.servers.processes import LOOPBACK

VALID: Final = 2
"""Days."""
EXPIRED: Final = -1


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM: the certificate, its key, both in one (as Kafka takes them), and the key under a password."""

    certificate: Path
    key: Path
    both: Path
    guarded_key: Path


class Authority:
    """Issues certificates; `file` is what those trust who trust it. `password`: of every guarded key."""

    def __init__(self, directory: Path, name: str, password: str) -> None:
        if shutil.which("openssl") is None:
            go_without("no openssl")
        self._directory = directory / name
        self._directory.mkdir()
        self._password = password
        self._files = self._make("authority", f"/CN={name}", "basicConstraints=critical,CA:TRUE", (), VALID)

    @property
    def file(self) -> Path:
        return self._files.certificate

    def issue(self, name: str, host: str = LOOPBACK, days: int = VALID) -> Certificate:
        """For a server at `host` (an address), and for a client called `name`."""
        signed = ("-CA", str(self._files.certificate), "-CAkey", str(self._files.key))
        return self._make(name, f"/CN={name}", f"subjectAltName=IP:{host}", signed, days)

    def _make(self, name: str, subject: str, extension: str, signed: tuple[str, ...], days: int) -> Certificate:
        files = Certificate(*(self._directory / f"{name}{end}.pem" for end in ("", "-key", "-both", "-guarded-key")))
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", files.key)
        _openssl("pkcs8", "-topk8", "-in", files.key, "-out", files.guarded_key, "-passout", f"pass:{self._password}")
        request = self._directory / f"{name}.csr"
        _openssl("req", "-new", "-key", files.key, "-subj", subject, "-addext", extension, "-out", request)
        signing = signed or ("-key", str(files.key))
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-copy_extensions",
            "copyall",
            *signing,
            "-days",
            str(days),
            "-out",
            files.certificate,
        )
        files.both.write_text(files.key.read_text() + files.certificate.read_text())
        return files


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
