"""Find out how to reach the API server and as whom: from the pod's ServiceAccount, else from a kubeconfig.

kopf and the operator's own client both take their credentials from here, so that neither outlives the other.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from loadstone_core.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoCredentials(WorldError):  # noqa: N818 (a state of the world)
    """There is neither a ServiceAccount nor a usable kubeconfig."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One way to the API server; texts are empty where they do not apply. Certificates and keys are PEM."""

    server: str
    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    insecure: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS side of the credentials, without the token."""
        context = ssl.create_default_context(cadata=self.ca or None)
        # Cluster authorities are often older than the strict profile of RFC 5280.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            _load_certificate(context, self.certificate, self.key)
        return context


def read_credentials(environment: Mapping[str, str], *, account: Path = SERVICE_ACCOUNT) -> Credentials:
    """Return the credentials as they are on disk now: a ServiceAccount's token changes every hour.

    Raises:
        NoCredentials: there are none.
    """
    token = account / "token"
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if environment.get("KUBECONFIG"):
        return _from_kubeconfig(Path(environment["KUBECONFIG"]))
    if not host or not token.is_file():
        raise NoCredentials("no ServiceAccount token is mounted and KUBECONFIG is not set")
    address = f"[{host}]" if ":" in host else host
    authority = account / "ca.crt"
    return Credentials(
        server=f"https://{address}:{port}",
        token=token.read_text().strip(),
        ca=authority.read_text() if authority.is_file() else "",
    )


def _from_kubeconfig(path: Path) -> Credentials:
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        return Credentials(
            server=cluster["server"].rstrip("/"),
            token=user.get("token", ""),
            ca=_pem(cluster, "certificate-authority", path),
            certificate=_pem(user, "client-certificate", path),
            key=_pem(user, "client-key", path),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError, StopIteration) as error:
        raise NoCredentials(f"the kubeconfig {path} cannot be used: {error!r}") from error


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(entry: Mapping[str, Any], key: str, config: Path) -> str:
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return (config.parent / entry[key]).read_text() if key in entry else ""


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a client certificate, which Python takes from a file only; the file is gone before this returns."""
    descriptor = os.memfd_create("loadstone-client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, f"{certificate}\n{key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
