#!/usr/bin/env bash
# Everything that must hold before a change goes in: lint, format, types, tests. In a virtual environment of its own, made
# anew. Needs Python 3.11 to 3.13 with pip. PYTHON chooses the interpreter, VENV the environment's folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=${VENV:-.venv-test}

rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
# The roboflow SDK as README says: by itself it would bring opencv-python-headless in beside opencv-python.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps roboflow
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    python-dotenv requests-toolbelt filetype tqdm 'pillow-avif-plugin<2'
# An S3 server for the tests. s3fs pins botocore, and so does boto3, which moto brings: beside all the other packages pip
# searches for a quarter of an hour for two that fit, for these alone a few seconds.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check s3fs 'moto[s3]>=5' 'flask>=3' 'flask-cors>=5'

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check

# The root is the package: a link gives it its name, for the type checker does not follow editable installs.
mkdir "$venv/source"
ln -s "$PWD" "$venv/source/facepipe"
MYPYPATH="$venv/source" "$venv/bin/mypy" -p facepipe

"$venv/bin/python" -m pytest "$@"
