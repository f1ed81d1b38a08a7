"""Make what TLS needs for a test, with the openssl command: `python3 certificates.py FOLDER [HOST...]`.

ca.crt          the authority that the clients trust
tls.crt tls.key of the server, for each HOST and for localhost
client.crt client.key for a client that must show who it is
"""

import subprocess
import sys
import tempfile
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificates(folder: Path, *hosts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"DNS:{host}" for host in hosts)])
    with tempfile.TemporaryDirectory() as scratch:
        authority = Path(scratch, "ca.key")
        openssl(
            "req", "-x509", *NEW_KEY, "-keyout", authority, "-out", folder / "ca.crt", "-days", 30,
            "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
        for name, subject, extension in (
            ("tls", "/CN=shop", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n"),
            ("client", "/CN=load test", "extendedKeyUsage=clientAuth\n"),
        ):
            asked, extensions = Path(scratch, "request"), Path(scratch, "extensions")
            extensions.write_text(extension)
            openssl("req", *NEW_KEY, "-keyout", folder / f"{name}.key", "-out", asked, "-subj", subject)
            openssl(
                "x509", "-req", "-in", asked, "-CA", folder / "ca.crt", "-CAkey", authority,
                "-CAserial", Path(scratch, "serial"), "-CAcreateserial",
                "-days", 30, "-extfile", extensions, "-out", folder / f"{name}.crt",
            )  # fmt: skip


def openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"openssl {arguments[0]}: {done.stderr.strip()}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    make_certificates(Path(sys.argv[1]), *sys.argv[2:])
