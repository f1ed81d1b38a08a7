"""Generate the gRPC stubs in protocol/loadstone_protocol/v1 from protocol/proto. `--check` only compares."""

import argparse
import filecmp
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "protocol" / "proto"
PACKAGE = Path("loadstone_protocol") / "v1"


def generate(target: Path) -> None:
    """Write the stubs of every .proto file below `target`; SystemExit when the compiler refuses one."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    include = resources.files("grpc_tools") / "_proto"
    services = [name for name in files if "service " in (PROTO / name).read_text()]
    plain = [f"--proto_path={PROTO}", f"--proto_path={include}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main(["protoc", *plain, *files]) or protoc.main(
        ["protoc", f"--proto_path={PROTO}", f"--proto_path={include}", f"--grpc_python_out={target}", *services]
    ):
        sys.exit("generate_stubs: protoc refused a file, see above")


def main() -> None:
    """Generate in place, or with --check exit 1 if what is committed differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if not check:
        generate(ROOT / "protocol")
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        made, committed = Path(scratch) / PACKAGE, ROOT / "protocol" / PACKAGE
        fresh = sorted(path.name for path in made.glob("*_pb2*"))
        held = sorted(path.name for path in committed.glob("*_pb2*"))
        _, differing, missing = filecmp.cmpfiles(made, committed, fresh, shallow=False)
        if differing or missing or fresh != held:
            sys.exit(f"stubs are stale ({', '.join(differing + missing)}): run python tools/generate_stubs.py")


if __name__ == "__main__":
    main()
