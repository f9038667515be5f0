# Set-up shared by the scripts beside it: finds Python, keeps .venv up to date, installs Debian packages.
# shellcheck shell=bash
#
# Everything it has to say goes to stderr, so that stdout belongs to the program that is started.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
VENV_PYTHON="$VENV/bin/python"
# Where Debian puts servers, and what is not on everybody's PATH.
PATH="$PATH:${SBIN:-/usr/sbin}"

say() { printf '%s\n' "threadchat: $*" >&2; }

die() {
    say "$@"
    exit 1
}

# Runs a command as root: directly, or by a sudo that asks for no password. Fails where neither is possible.
as_root() {
    if [[ "$(id -u)" == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Installs Debian packages; fails, without a word, where that cannot be done. apt's own words show its errors.
apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root true || return 1
    say "installing $* ..."
    # The list of packages is fetched once a run; a stale one still beats none, so a failure is not the end.
    if [[ -z "${APT_UPDATED:-}" ]]; then
        APT_UPDATED=yes
        as_root apt-get update -qq </dev/null >&2 || true
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" </dev/null >/dev/null
}

# Sees to it that there is a Redis, or a Valkey, to be started; fails where there is none and can be none.
ensure_redis() {
    command -v redis-server >/dev/null || command -v valkey-server >/dev/null || apt_install redis-server
}

# Sees to it that there is an nginx to be started; fails where there is none and can be none.
ensure_nginx() {
    command -v nginx >/dev/null || apt_install nginx
}

# Sees to it that there is a Node that has a test runner; fails where there is none and can be none.
ensure_node() {
    has_node || { apt_install nodejs && has_node; }
}

has_node() { command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; }

# Installs what npm has for the tests: TypeScript checks the types of threadchat.js, jsdom is a document for the
# page's modules, axe-core finds what keeps people from using it, dockerfile-utils checks the Dockerfile, and pyright
# the package's types. Fails without npm, or if npm cannot reach its registry.
ensure_node_packages() {
    local packages="$VENV/node/node_modules"
    [[ -x "$packages/.bin/tsc" && -x "$packages/.bin/dockerfile-utils" && -d "$packages/jsdom" &&
        -d "$packages/axe-core" && -d "$packages/pyright" ]] && return
    command -v npm >/dev/null || return 1
    say "installing TypeScript, jsdom, axe-core, dockerfile-utils and pyright into $VENV ..."
    npm install --silent --no-fund --no-audit --prefix "$VENV/node" \
        "typescript@5.9" "jsdom@26" "axe-core@4.10" "dockerfile-utils@0.16" \
        "pyright@1.1.414" </dev/null >&2
}

# Sets PYTHON and PYTHON_VERSION, or says what is missing.
find_python() {
    if [[ -z "${PYTHON:-}" ]]; then
        PYTHON=python3
        command -v python3 >/dev/null || apt_install python3 || true
    fi
    command -v "$PYTHON" >/dev/null ||
        die "$PYTHON is not there. Install Python 3.11 or newer, or name one: PYTHON=/path/to/python3 $0"
    PYTHON_VERSION="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ||
        die "$PYTHON does not run. Name another Python: PYTHON=/path/to/python3 $0"
    local major="${PYTHON_VERSION%%.*}" minor="${PYTHON_VERSION#*.}"
    if ((major < 3 || (major == 3 && minor < 11))); then
        die "$PYTHON is Python $PYTHON_VERSION; 3.11 or newer is needed. Name one: PYTHON=/path/to/python3 $0"
    fi
}

# Debian packs the part of Python that makes virtual environments by itself.
ensure_venv_module() {
    if "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    local package="python$PYTHON_VERSION-venv"
    if apt_install "$package" && "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    die "$PYTHON cannot make virtual environments. On Debian or Ubuntu run: sudo apt-get install $package"
}

create_venv() {
    find_python
    ensure_venv_module
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" >&2 || die "$PYTHON could not make $VENV; its own words are above"
}

# What an installation depends on: where the tree lies, the Python in .venv, and what is asked for.
fingerprint() {
    {
        printf '%s\n' "$ROOT"
        "$VENV_PYTHON" -V
        cat "$ROOT/pyproject.toml"
    } 2>/dev/null | cksum
}

is_installed() {
    [[ -x "$VENV_PYTHON" ]] || return 1
    local stamp
    for stamp in "$@"; do
        if [[ "$(cat "$VENV/installed-$stamp" 2>/dev/null)" == "$(fingerprint)" ]]; then return; fi
    done
    return 1
}

# Installs this tree, editable, with the extra named into .venv, creating that where it is missing.
install_package() {
    local extra="$1"
    if [[ ! -x "$VENV_PYTHON" ]] || ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
        say "preparing $VENV; this takes a minute, the first time only ..."
        create_venv
    else
        say "bringing $VENV up to date ..."
    fi
    rm -f "$VENV"/installed-*
    "$VENV_PYTHON" -m pip install -qq --no-input --disable-pip-version-check --no-warn-script-location \
        --editable "${ROOT}[$extra]" </dev/null >&2 ||
        die "the installation failed; pip's own words are above"
    fingerprint >"$VENV/installed-$extra"
}

# ensure_installed EXTRA: makes .venv fit for EXTRA: "all" to run whatever there is, "test" to test it too.
# Quick when it fits.
ensure_installed() {
    local extra="$1"
    local stamps=(test "$extra") # with the tests' packages, those of every other extra are there
    if is_installed "${stamps[@]}"; then return; fi
    # Two of these scripts may be started at once; the second then waits and finds the work done.
    (
        if command -v flock >/dev/null; then flock 9; fi
        is_installed "${stamps[@]}" || install_package "$extra"
    ) 9>"$ROOT/.venv.lock"
}
