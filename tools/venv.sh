#!/bin/sh
# Make .venv from the requirements files given, or do nothing where it is up to date.
# --accelerator=cuda or =cpu before them chooses TensorFlow's and ONNX Runtime's builds, for later
# calls in this folder too.
# The first of these on the PATH that runs, is Python 3.11 to 3.13 and has venv is used.
set -eu

cd "$(dirname "$0")/.."
check='import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

# Builds for the CPU and for CUDA are installed into the same folders, so a .venv holds those of one.
accelerator=$(cat .accelerator 2>/dev/null || echo cpu)
given=
case ${1-} in
--accelerator=*)
    given=yes
    accelerator=${1#*=}
    shift
    ;;
esac
case $accelerator in
cpu) ;;
cuda)
    if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
        echo "error: ACCELERATOR=cuda: TensorFlow and ONNX Runtime are built for CUDA on Linux on" \
            "x86-64 alone; give ACCELERATOR=cpu" >&2
        exit 1
    fi
    for file in "$@"; do
        shift
        [ "$file" != requirements.txt ] || file=requirements-cuda.txt
        set -- "$@" "$file"
    done
    ;;
*)
    printf 'error: ACCELERATOR=%s: give cpu, or cuda for NVIDIA GPUs\n' "$accelerator" >&2
    exit 1
    ;;
esac
if [ -n "$given" ]; then
    echo "$accelerator" >.accelerator
fi

# The stamp holds the checksum of all the files, which pin the same versions, and which of them are
# installed: after `make test`, `make repro` has nothing to do. requirements-recipes.txt is a part of
# requirements.txt and of requirements-cuda.txt.
stamp=.venv/.requirements
wanted=$(cat requirements*.txt | cksum)
installed=
if [ -x .venv/bin/python ] && .venv/bin/python -c pass 2>/dev/null; then
    installed=$(cat "$stamp" 2>/dev/null || true)
fi
case $installed in
"$wanted "*) installed="${installed#"$wanted"} " ;;
*) installed=" " ;;
esac
held=$(cat .venv/.accelerator 2>/dev/null || echo cpu)
if [ "$held" != "$accelerator" ]; then
    installed=" "
fi
missing=
for file in "$@"; do
    case $file$installed in
    *" $file "*) ;;
    requirements-recipes.txt*" requirements.txt "* | requirements-recipes.txt*" requirements-cuda.txt "*) ;;
    *) missing="$missing $file" ;;
    esac
done
if [ -z "$missing" ]; then
    exit 0
fi

case $missing in
*" requirements.txt"* | *" requirements-cuda.txt"*)
    if [ "$(uname -s) $(uname -m)" = "Darwin x86_64" ]; then
        echo "error: TensorFlow is no longer built for Macs with an Intel processor; run Thaw in a" \
            "Linux container there, or on another machine" >&2
        exit 1
    fi
    # DVC needs Git: told here, before all that is fetched.
    if ! told=$(LC_ALL=C git rev-parse --git-dir 2>&1); then
        case $told in
        *"dubious ownership"*)
            told="this folder belongs to another user, so Git and DVC won't use it"
            remedy="git config --global --add safe.directory '$PWD'"
            ;;
        *"not a git repository"*)
            told="this folder is no Git repository, which DVC needs"
            remedy="git init && git add --all && git commit --message Thaw"
            ;;
        *)
            told="git doesn't run here ($told)"
            remedy="git --version"
            ;;
        esac
        echo "error: $told; run \`$remedy\`, then this again" >&2
        exit 1
    fi
    ;;
esac

if [ "$held" != "$accelerator" ]; then
    rm -rf .venv # before the search: its Python may be the first on the PATH
fi
python=
for candidate in python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c "$check" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 -c 'import platform; print("python3 here is Python", platform.python_version())' \
        2>/dev/null || echo "there is no python3 here")
    if python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1; then
        found="$found, without venv (on Debian: apt install python3-venv)"
    fi
    echo "error: Thaw needs Python 3.11, 3.12 or 3.13 with venv on the PATH; $found" >&2
    exit 1
fi

if ! .venv/bin/python -c "$check" >/dev/null 2>&1; then
    rm -rf .venv
    echo "making .venv with $("$python" --version)"
    "$python" -m venv .venv
    echo "$accelerator" >.venv/.accelerator
fi
case "$missing " in
*" requirements.txt "*) size=" (about 400 MB to download the first time)" ;;
*" requirements-cuda.txt "*) size=" (about 3 GB to download the first time)" ;;
*) size= ;;
esac
echo "installing${missing} into .venv$size"
set_of_files=
for file in "$@"; do
    set_of_files="$set_of_files --requirement $file"
done
rm -f "$stamp"
# shellcheck disable=SC2086
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-user \
    $set_of_files; then
    echo "error: pip could not install $*; check the network and \`pip config list\`," \
        "then run this again" >&2
    exit 1
fi
printf '%s%s%s\n' "$wanted" "$installed" "${missing# }" >"$stamp"
