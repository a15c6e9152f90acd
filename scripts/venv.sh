#!/bin/sh
# Makes the virtual environment: scripts/venv.sh FOLDER [PYTHON]
# PYTHON is the interpreter to make it with; by default the first of python3.11, python3, python that is 3.11 or newer.
set -eu
folder=$1
wanted=${2:-}
root=$(cd "$(dirname "$0")/.." && pwd)

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

python=
for candidate in ${wanted:-python3.11 python3 python}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "No Python 3.11 or newer: tried ${wanted:-python3.11, python3, python}. Install Python 3.11, or name one:" >&2
    echo "    make venv PYTHON=/path/to/python3.11" >&2
    exit 1
fi

if ! new_enough "$folder/bin/python"; then
    if ! "$python" -m venv --clear "$folder"; then
        rm -rf "$folder"
        echo "$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3.11-venv" >&2
        exit 1
    fi
fi
python=$folder/bin/python
echo "installing into $folder ($("$python" --version)); the first time this downloads about 3 GB, mostly torch"
# uv, itself from the package index, installs the same pinned versions in a fraction of pip's time; where it cannot
# reach the index (a proxy or mirror that only pip is set up for), pip does it
if "$python" -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1" &&
    "$folder/bin/uv" pip install --python "$python" -c "$root/constraints.txt" -e "$root[dev]"; then
    exit 0
fi
echo "uv could not install; going on with pip" >&2
"$python" -m pip install --disable-pip-version-check -c "$root/constraints.txt" -e "$root[dev]"
