"""`loadstone init`: the LoadTest to begin with. What fields there are says `kubectl explain loadtest.spec`."""

import json
import sys
from pathlib import Path
from string import Template

from loadstone_core.admission import admit
from loadstone_core.errors import SpecInvalidError

_STARTER = Template(
    """\
# On this machine:  loadstone run $file
# On a cluster:     kubectl apply -f $file; kubectl get ldt -w
apiVersion: loadstone.dev/v1alpha1
kind: LoadTest
metadata: {name: $name}
spec:
  source:
    inline:
      content: |
        from loadstone import User, between, check, task

        class Visitor(User):
            wait = between(0.5, 2)  # seconds of thinking after each task

            @task
            def front_page(self):
                reply = self.http.get("/", name="front page")
                check("front page answers", reply.status == 200)
  load:
    target: $target
    users: 10
    spawnRate: 5  # users a second until all are there
    duration: 30s
  workers: {replicas: 1}
  thresholds:  # without any, failures decide nothing
  - {name: reliable, expr: 'failures:rate < 1%', abortOnFail: true}
  - {name: fast, expr: 'latency{name="front page"}:p95 < 500ms'}
"""
)


def write_starter(file: Path, *, name: str, target: str) -> int:
    """Write a LoadTest to begin with; return 0, or 1 with a sentence if it cannot be, or would not be valid."""
    text = _STARTER.substitute(file=file, name=json.dumps(name), target=json.dumps(target))
    problems = _problems(text)
    if problems:
        for problem in problems:
            print(f"loadstone init: {problem}", file=sys.stderr)
        return 1
    try:
        with file.open("x") as written:
            written.write(text)
    except FileExistsError:
        print(f"{file} is there already: name another file, or remove it", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"Wrote {file}. Next: loadstone run {file}")
    return 0


def _problems(text: str) -> list[str]:
    import yaml

    try:
        admit(yaml.safe_load(text))
    except SpecInvalidError as error:
        return [str(problem) for problem in error.problems]
    return []
