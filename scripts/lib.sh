# Shared by the scripts beside it: an environment in the checkout, set up once per state of pyproject.toml.
# shellcheck shell=sh

# Modules are compiled when they are first imported, once: where this is set, as in many containers, every process would
# compile them all again.
unset PYTHONDONTWRITEBYTECODE

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.venv"

# The first Python of at least 3.10 that runs: a command may exist and still not work, as version managers' stand-ins do.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python >= 3.10 with venv found; install one (Debian, Ubuntu: python3-venv)," \
        "or name it: PYTHON=/path/to/python3 $0" >&2
    exit 4
}

# set_up EXTRA: an editable install with the extra ("" for none), unless the one that is there is up to date.
set_up() {
    extra=$1
    if [ ! -x "$venv/bin/python" ]; then
        python=$(find_python) || exit $?
        echo "making $venv with $python" >&2
        "$python" -m venv "$venv"
    fi
    # What the tests were set up with holds all that running needs.
    if [ -f "$venv/installed-dev" ]; then extra=dev; fi
    stamp="$venv/installed-${extra:-run}"
    if [ ! -f "$stamp" ] || ! cmp -s "$root/pyproject.toml" "$stamp"; then
        echo "installing (minutes, the first time)" >&2
        # Python compiles what is imported when it is first imported; pip would compile 20,000 files that mostly never are.
        "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check -e "$root${extra:+[$extra]}" >&2
        cp "$root/pyproject.toml" "$stamp"
    fi
}

# The reports are tested in a browser. Where none is installed and this is Debian or Ubuntu and root, it is fetched;
# elsewhere those tests say what they miss.
need_chromium() {
    for candidate in "${TAL_CHROMIUM:-}" chromium chromium-browser google-chrome chrome; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then return; fi
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing chromium" >&2
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
            echo "warning: chromium could not be installed" >&2
    fi
}
