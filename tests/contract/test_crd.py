"""The CRD files, core's fields, the samples and the vocabularies of other rooms agree."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from loadstone_core.admission import admit
from loadstone_core.errors import SpecInvalidError
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.schema import class_crd, loadtest_crd
from loadstone_core.spec.status import PHASES, VERDICTS
from loadstone_core.verdict.outcome import Verdict

ROOT = Path(__file__).parents[2]
SAMPLES = Path(__file__).parent / "samples"
RENDERED = ROOT / "crds" / "loadtests.yaml"
CLASSES = ROOT / "crds" / "loadtestclasses.yaml"
SCHEMA = loadtest_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
VALID = list(yaml.safe_load_all((SAMPLES / "valid.yaml").read_text(encoding="utf-8")))
# The API server refuses these by structure, where JSON Schema alone has no opinion.
STRUCTURAL = ("unknown field", "Duplicate value")
# Too long to stand in a file; see test_validation.
WITHOUT_SAMPLE = (
    "must be at most 64 KiB",
    "content and files together must be at most 128 KiB",
    "names and values together must be at most 16 KiB",
)


def invalid() -> list[Any]:
    samples = []
    for text in (SAMPLES / "invalid.yaml").read_text(encoding="utf-8").split("\n---\n"):
        told = dict(
            line[2:].split(": ", 1) for line in text.splitlines() if line.startswith(("# expect: ", "# local: "))
        )
        document = yaml.safe_load(text)
        local = told.get("local", told["expect"])
        samples.append(pytest.param(document, told["expect"], local, id=document["metadata"]["name"]))
    return samples


def schemas(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema below one, with its path."""
    yield path, schema
    for name, held in schema.get("properties", {}).items():
        yield from schemas(held, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if part in schema:
            yield from schemas(schema[part], f"{path}[]")


def messages() -> set[str]:
    return {rule["message"] for _, schema in schemas(SCHEMA) for rule in schema.get("x-kubernetes-validations", ())}


def complaints(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


@pytest.mark.promise("crd-rendered")
def test_the_files_are_what_the_fields_render() -> None:
    spec = importlib.util.spec_from_file_location("render_crd", ROOT / "tools" / "render_crd.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    texts = tool.render()
    assert {RENDERED, CLASSES} <= texts.keys()
    for target, text in texts.items():
        assert target.read_text(encoding="utf-8") == text, "run `python tools/render_crd.py`"


@pytest.mark.promise("crd-rendered")
@pytest.mark.parametrize(("file", "crd"), [(RENDERED, loadtest_crd()), (CLASSES, class_crd())], ids=["test", "class"])
def test_the_copy_in_the_chart_is_identical(file: Path, crd: dict[str, Any]) -> None:
    copy = ROOT / "helm" / "loadstone" / "crds" / file.name

    assert copy.read_bytes() == file.read_bytes()
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == crd


@pytest.mark.promise("explain")
@pytest.mark.parametrize("crd", [loadtest_crd(), class_crd()], ids=["test", "class"])
def test_every_field_has_a_description_for_users(crd: dict[str, Any]) -> None:
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    # The API server knows metadata itself and refuses a description.
    bare = [path for path, schema in schemas(root) if not schema.get("description") and path != ".metadata"]

    assert bare == []


def test_every_string_and_list_of_the_spec_is_bounded() -> None:
    """Without bounds the API server has to assume the worst cost of each rule, and refuses the whole CRD."""
    unbounded = [
        path
        for path, schema in schemas(SCHEMA["properties"]["spec"])
        if (schema.get("type") == "string" and not {"maxLength", "enum"} & schema.keys())
        or (schema.get("type") == "array" and "maxItems" not in schema)
        or ("additionalProperties" in schema and "maxProperties" not in schema)
    ]

    assert unbounded == []


def test_the_status_speaks_the_vocabularies_of_phases_and_verdicts() -> None:
    assert set(PHASES) == {phase.value for phase in Phase}
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}


@pytest.mark.parametrize("document", VALID, ids=lambda document: document["metadata"]["name"])
def test_a_valid_sample_is_taken_by_schema_and_by_python(document: Any) -> None:
    assert complaints(document) == []
    assert admit(document).name == document["metadata"]["name"]


@pytest.mark.promise("validate")
@pytest.mark.parametrize(("document", "by_server", "by_python"), invalid())
def test_an_invalid_sample_is_refused_with_its_sentence(document: Any, by_server: str, by_python: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        admit(document)

    assert by_python in str(caught.value)
    if not complaints(document) and not by_server.startswith(STRUCTURAL):
        assert any(by_server in message for message in messages()), "neither the schema nor a rule can refuse it"


def test_each_rule_of_the_api_server_is_shown_by_a_sample() -> None:
    expected = [sample.values[1] for sample in invalid()]
    unshown = {message for message in messages() if not any(sentence in message for sentence in expected)}

    assert {message for message in unshown if not message.startswith(WITHOUT_SAMPLE)} == set()
