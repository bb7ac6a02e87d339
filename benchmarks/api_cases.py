"""Fuzz ``facepipe serve`` with thousands of requests generated from its OpenAPI document; none may return a 500.

    python benchmarks/api_cases.py [--cases 5000] [--seed 1]

schemathesis (extra ``dev``) generates valid and invalid queries, headers, methods, forms and bodies, including a real
photo, whole and truncated. The status, type and format of every response must match the document. Ends with
schemathesis' own exit code, or 1 if fewer cases than requested were run or the server did not survive.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PHOTO = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance"
)
HOOKS = f"""
import schemathesis
from hypothesis import strategies as st

PHOTO = open({str(PHOTO)!r}, "rb").read()
cut = st.integers(0, len(PHOTO)).map(lambda end: PHOTO[:end])
noise = st.binary(max_size=300)
damaged = st.tuples(st.integers(0, len(PHOTO)), st.binary(max_size=64)).map(
    lambda both: PHOTO[: both[0]] + both[1] + PHOTO[both[0] + len(both[1]) :]
)
pictures = st.sampled_from([cut, cut, noise, noise, damaged, st.just(PHOTO)]).flatmap(lambda kind: kind)
for kind in ("image/*", "image/jpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, pictures)
"""


def main() -> None:
    """Start the server, send the requests, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    serve = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "serve", "--port", "0", "--quiet"]
    serve += ["--imgsz", "160", "--allow-version", "classifier@1.0.0"]  # small input: only the requests matter here
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().split(";")[0].rsplit(" ", 1)[1]
        (Path(folder) / "hooks.py").write_text(HOOKS, "utf-8")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{url}/openapi.json",
            "--checks",
            CHECKS,
        ]
        command += ["--max-examples", str(options.cases), "--seed", str(options.seed), "--phases"]
        command += [
            "examples,coverage,fuzzing",
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
            "--no-color",
        ]
        command += ["--warnings", "off"]
        run = subprocess.run(
            command, cwd=folder, env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks"}, stdout=subprocess.PIPE, text=True
        )
        print(run.stdout)
        alive = server.poll() is None
        server.terminate()
    found = re.search(r"([\d,]+) generated", run.stdout)
    count = int(found[1].replace(",", "")) if found else 0
    print(f"{count} cases; the server {'outlived them' if alive else 'did not outlive them'}, exit {server.returncode}")
    sys.exit(run.returncode or int(count < options.cases or not alive))


if __name__ == "__main__":
    main()
