"""`loadstone validate`: everything that can be wrong with a LoadTest before it starts."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from loadstone_cli.documents import Document, read_documents, with_settings
from loadstone_cli.sources import LocalScript, local_environment, local_script
from loadstone_core.admission import admit
from loadstone_core.errors import LoadstoneError, SpecInvalidError
from loadstone_core.spec.model import ImageSource, LoadTest

SCRIPT_SECONDS = 30


def validate_files(files: tuple[Path, ...], *, settings: tuple[str, ...]) -> int:
    """Print what is wrong with each LoadTest in `files`; return 1 if anything is, else 0."""
    wrong = 0
    for file in files:
        try:
            documents = read_documents(file)
        except (LoadstoneError, OSError) as error:
            print(error, file=sys.stderr)
            wrong += 1
            continue
        tests = [document for document in documents if document.is_loadtest]
        if not tests:
            print(f"{file}: no LoadTest in it", file=sys.stderr)
            wrong += 1
        for document in tests:
            problems = problems_of(document, documents, settings)
            for line in problems:
                print(line, file=sys.stderr)
            wrong += len(problems)
            if not problems:
                print(f"{file}: LoadTest {document.name} is valid")
    return 1 if wrong else 0


def problems_of(document: Document, documents: list[Document], settings: tuple[str, ...]) -> list[str]:
    """Return a line for each problem of one LoadTest: of its fields first, of its script if there are none."""
    try:
        test = admit(with_settings(document, settings).body)
        if isinstance(test.spec.source.kind, ImageSource) and not Path(test.spec.source.kind.path).is_file():
            return []  # The script is in an image, which is not here to be looked into.
        script = local_script(test.spec, document, documents)
    except SpecInvalidError as error:
        return [document.explain(problem) for problem in error.problems]
    problem = script_problem(test, script)
    return [f"{document.file}: spec.source: {problem}"] if problem else []


def script_problem(test: LoadTest, script: LocalScript) -> str | None:
    """Return what keeps the script from being imported as an engine does, or None.

    The script runs in a process of its own, because importing it may do anything.
    """
    with tempfile.TemporaryDirectory(prefix="loadstone-") as folder:
        for name, content in script.files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            finished = subprocess.run(
                [sys.executable, "-m", "loadstone_runner", "check"],
                env=_environment(test, folder, script.entrypoint),
                capture_output=True,
                text=True,
                timeout=SCRIPT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the script was not imported within {SCRIPT_SECONDS} s: move what takes long into on_start"
    try:
        answer = json.loads(finished.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return f"the script ended its process with exit code {finished.returncode}: {finished.stderr.strip()[-500:]}"
    if not answer["ok"]:
        return "\n".join(filter(None, (answer["problem"], answer["traceback"])))
    return missing_in_script(test, tags=answer["tags"], has_shape=answer["has_shape"])


def missing_in_script(test: LoadTest, *, tags: list[str], has_shape: bool) -> str | None:
    """Return what the load names and the script does not have, or None."""
    for scenario in test.spec.scenarios:
        for tag in (*scenario.tags, *scenario.exclude_tags):
            if tag not in tags:
                there = f"there are {', '.join(tags)}" if tags else "no task has any"
                return f"scenario {scenario.name} names the tag {tag}, which no task of the script has; {there}"
    if test.spec.load.shape_users is not None and not has_shape:
        return "load.shape asks for a shape, and the script has none: define a class with Shape as its base"
    return None


def _environment(test: LoadTest, folder: str, entrypoint: str) -> dict[str, str]:
    return {
        **os.environ,
        **local_environment(test.spec),
        "LOADSTONE_SCRIPT_DIR": folder,
        "LOADSTONE_ENTRYPOINT": entrypoint,
        "LOADSTONE_TARGET": test.spec.load.target or "",
    }
