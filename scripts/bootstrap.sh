#!/usr/bin/env bash
# Makes a checkout ready to run: system programs where they are missing, a virtual environment,
# the pinned Python packages. Quick when all is there. Installs no system service.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .scoreboard/logs
log=.scoreboard/logs/setup.log
stamp=.venv/.scoreboard-packages

# All messages go to stderr, so that the output of a command stays its own.
say() { printf '%s\n' "$*" >&2; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# step TEXT COMMAND…: runs a long command with its output in the log and its progress in one line.
step() {
    local text=$1 began=$SECONDS frames=(⠋ ⠙ ⠹ ⠸ ⠼ ⠴ ⠦ ⠧ ⠇ ⠏) frame=0 pid
    shift
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' INT TERM HUP
    [[ -t 2 ]] || say "  $text …"
    while kill -0 "$pid" 2>/dev/null; do
        if [[ -t 2 ]]; then
            printf '\r\033[2K  %s %s %d s' "${frames[frame++ % 10]}" "$text" $((SECONDS - began)) >&2
        fi
        sleep 0.1
    done
    [[ -t 2 ]] && printf '\r\033[2K' >&2
    trap - INT TERM HUP
    if wait "$pid"; then
        say "  ✓ $text ($((SECONDS - began)) s)"
    else
        tail -n 15 "$log" | sed 's/^/    /' >&2
        fail "$text failed; all of its output is in $log"
    fi
}

has() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

# One set-up at a time; the second waits, then finds all done.
exec 9>.scoreboard/setup.lock
flock 9

python=${PYTHON:-python3}
has "$python" || fail "Python 3.11 or later is not installed. Install it with: apt-get install python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Python 3.11 or later is needed (or name one: make PYTHON=python3.12 …)"

packages=()
if [[ -z ${SCOREBOARD_MYSQL_URL:-} ]]; then
    if ! has mariadbd && ! has mysqld; then
        packages+=(mariadb-server-core mariadb-client-core)
    elif has mariadbd && ! has mariadb-install-db; then
        packages+=(mariadb-server-core)
    fi
fi
if [[ -z ${SCOREBOARD_REDIS_URL:-} ]] && ! has redis-server && ! has valkey-server && ! has redis-check-rdb; then
    packages+=(redis-tools)
fi
if [[ ! -x .venv/bin/python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
fi

if ((${#packages[@]})); then
    has apt-get || fail "These programs are missing and this system has no apt-get to install them: ${packages[*]} (names of Debian packages)."
    if [[ $(id -u) -eq 0 ]]; then
        as_root=(env)
    elif has sudo && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && say "sudo is needed once, to install: ${packages[*]}" && sudo -v; }; }; then
        as_root=(sudo env)
    else
        fail "Some programs are missing, and installing them needs root. Ask for: apt-get install ${packages[*]}"
    fi
    apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    step "Looking up system packages" "${apt[@]}" update
    step "Installing ${packages[*]}" "${apt[@]}" install --no-install-recommends "${packages[@]}"
fi

if [[ ! -x .venv/bin/pip ]]; then
    step "Making a virtual environment" "$python" -m venv --clear .venv
fi
current=$(.venv/bin/python -V && cat pyproject.toml constraints.txt)
current=$(printf '%s' "$current" | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$current" ]]; then
    step "Installing Python packages" \
        .venv/bin/pip install --disable-pip-version-check -c constraints.txt -e '.[stack,harness,otel,dev]'
    printf '%s\n' "$current" >"$stamp"
fi
