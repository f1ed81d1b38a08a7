"""Find the script of a LoadTest on this machine, and its environment; say what only a cluster can give."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadstone_cli.documents import Document
from loadstone_core.errors import Problem, SpecInvalidError
from loadstone_core.spec.model import ConfigMapSource, ImageSource, InlineSource, LoadTestSpec


@dataclass(frozen=True, slots=True)
class LocalScript:
    """A script's files by their path in the script folder, and which of them is run."""

    files: Mapping[str, bytes]
    entrypoint: str


def local_script(spec: LoadTestSpec, document: Document, others: Sequence[Document]) -> LocalScript:
    """Return the script that `spec` names: inline, a ConfigMap of the same file or files beside it, a path.

    Raises:
        SpecInvalidError: a file or key is not there.
    """
    match spec.source.kind:
        case InlineSource(content, files):
            texts = {spec.source.entrypoint: content, **files}
            return LocalScript({name: text.encode() for name, text in texts.items()}, spec.source.entrypoint)
        case ConfigMapSource():
            return LocalScript(_config_map(spec.source.kind, document, others), spec.source.entrypoint)
        case ImageSource(path):
            return _path(Path(path), document)


def local_environment(spec: LoadTestSpec) -> dict[str, str]:
    """Return the environment values that stand in the file itself, and which of the shell's are to be in no log."""
    values = {str(entry["name"]): str(entry["value"]) for entry in spec.env if "value" in entry}
    secrets = [entry["name"] for entry in spec.env if "secretKeyRef" in (entry.get("valueFrom") or {})]
    return values | ({"LOADSTONE_SECRETS": json.dumps(secrets)} if secrets else {})


def only_in_a_cluster(spec: LoadTestSpec) -> list[str]:
    """Return a line for each field that has no meaning on one machine."""
    lines = []
    if spec.image is not None:
        lines.append("spec.image: this Python is used")
    if spec.workers.template:
        lines.append("spec.workers.template: workers are processes here")
    if spec.env_from:
        lines.append("spec.envFrom: set these variables in the shell")
    lines.extend(
        f"spec.env {entry['name']}: valueFrom needs a cluster, set it in the shell"
        for entry in spec.env
        if "valueFrom" in entry and entry["name"] not in os.environ
    )
    if spec.load.is_paused:
        lines.append("spec.load.paused: nobody could end the pause here, so there is none")
    if spec.control is not None:
        lines.append("spec.control: platforms control a run on this machine with --control unix:PATH")
    if spec.class_name is not None:
        lines.append("spec.className: classes and their kill switches are the cluster's")
    if spec.suspend:
        lines.append("spec.suspend: a run was asked for, so it starts")
    return lines


def _config_map(source: ConfigMapSource, document: Document, others: Sequence[Document]) -> dict[str, bytes]:
    held = next((other.body for other in others if _is_config_map(other.body, source.name)), None)
    data: Mapping[str, Any] = (held or {}).get("data") or {}
    if held is not None and not source.items:
        return {key: str(text).encode() for key, text in data.items()}
    files: dict[str, bytes] = {}
    for key, path in source.items or (("test.py", "test.py"),):
        beside = document.folder / key
        if key in data:
            files[path] = str(data[key]).encode()
        elif beside.is_file():
            files[path] = beside.read_bytes()
        else:
            message = f"no ConfigMap {source.name} with the key {key} in this file, and no file {key} beside it"
            raise SpecInvalidError((Problem("spec.source.configMap", message),))
    return files


def _is_config_map(body: Any, name: str) -> bool:
    return isinstance(body, dict) and body.get("kind") == "ConfigMap" and body.get("metadata", {}).get("name") == name


def _path(path: Path, document: Document) -> LocalScript:
    """A path in the image: here a path of this machine, beside the YAML file when it is relative."""
    script = path if path.is_absolute() else document.folder / path
    if not script.is_file():
        message = f"{path} is a path in the runner image and there is no such file here"
        raise SpecInvalidError((Problem("spec.source.image.path", message),))
    beside = (
        file for file in script.parent.iterdir() if file.is_file() and file.suffix in {".py", ".csv", ".json", ".jsonl"}
    )
    return LocalScript({file.name: file.read_bytes() for file in beside}, script.name)
