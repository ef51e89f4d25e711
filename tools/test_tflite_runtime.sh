#!/usr/bin/env bash
# Runs the embedder's tests on tflite-runtime, with the oldest libraries that the base allows.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
environment=.venv-tflite
python=${PYTHON311:-python3.11}

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    echo "tflite-runtime: skipped, it needs Python 3.11 (name one: PYTHON311=/path/to/python3.11)"
    exit 0
fi
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "tflite-runtime: skipped, its pinned wheels are for Linux on x86-64"
    exit 0
fi
if ! cmp -s requirements/tflite_runtime.txt "$environment/requirements.txt"; then
    "$python" -m venv --clear "$environment"
    "$environment/bin/python" -m pip --disable-pip-version-check --quiet install \
        --require-hashes -r requirements/tflite_runtime.txt
    cp requirements/tflite_runtime.txt "$environment/requirements.txt"
fi
PYTHONPATH=sdk:protos "$environment/bin/python" -m pytest tests/tflite_runtime \
    tests/sdk/query/test_{pictures,picture_limits,runtimes,embedder}.py \
    tests/sdk/formats/test_{bundle,flatbuffers}.py \
    tests/faults/test_{hostile_pictures,changed_model}.py
