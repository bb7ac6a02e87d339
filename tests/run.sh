#!/usr/bin/env bash
# Everything that must hold before a change goes in: lint, format, types, documentation, tests.
#
#   bash tests/run.sh            all of it, tests on two processes
#   bash tests/run.sh -n 0 tests/core    what follows goes to pytest
#
# Runs in a virtual environment of its own, which is kept for the next run and made anew when pyproject.toml, this file or
# the interpreter has changed, or with FRESH=1. Needs Python 3.11 to 3.13 with pip. PYTHON chooses the interpreter, VENV the
# environment's folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=${VENV:-.venv-test}

made_of=$({ "$python" -VV; pwd; cat pyproject.toml tests/run.sh; } | "$python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
if [[ -n ${FRESH:-} || $(cat "$venv/made-of" 2>/dev/null || true) != "$made_of" ]]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
    install -e '.[train,dev,docs]'
    # The roboflow SDK as README says: by itself it would bring opencv-python-headless in beside opencv-python.
    install --no-deps roboflow
    install python-dotenv requests-toolbelt filetype tqdm 'pillow-avif-plugin<2'
    # An S3 server for the tests. s3fs pins botocore, and so does boto3, which moto brings: beside all the other packages
    # pip searches for a quarter of an hour for two that fit, for these alone a few seconds.
    install s3fs 'moto[s3]>=5' 'flask>=3' 'flask-cors>=5'
    # The root is the package: a link gives it its name, for the type checker does not follow editable installs.
    mkdir "$venv/source"
    ln -s "$PWD" "$venv/source/facepipe"
    echo "$made_of" >"$venv/made-of"
fi

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
MYPYPATH="$venv/source" "$venv/bin/mypy" -p facepipe
"$venv/bin/mkdocs" build --quiet --strict --site-dir "$venv/site"

"$venv/bin/python" -m pytest -n 2 --dist loadfile "$@"
