#!/usr/bin/env bash
# Makes a checkout ready: system programs where they are missing, a virtual environment, the pinned
# Python packages. Quick when everything is there. Installs no system service.
#
#   bootstrap.sh run    what the stack needs
#   bootstrap.sh load   that, and what load runs and chaos runs need; `make up` has it, so that
#                       `locust -f loadtests/` works as soon as there is a server
#   bootstrap.sh check  what linters and unit tests need: packages of Python alone
#   bootstrap.sh dev    all of it, for tests and benchmarks (the default)
#
# PYTHON names the interpreter (python3). Programs of services that run elsewhere, by their
# SCOREBOARD_* addresses, are not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
log=.scoreboard/logs/setup.log
# Written last, removed first: an environment without it was left half made, and is made anew.
stamp=.venv/.scoreboard-packages

# All messages go to stderr, so that the output of a command stays its own.
say() { printf '%s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# attempt TEXT COMMAND…: runs a long command with its output in the log and its progress in one
# line. Returns the command's status; a failure is left to the caller to report.
attempt() {
    local text=$1 began=$SECONDS frames=(⠋ ⠙ ⠹ ⠸ ⠼ ⠴ ⠦ ⠧ ⠇ ⠏) frame=0 pid status=0
    shift
    printf '== %s\n' "$text" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; exit 130' INT TERM HUP
    [[ -t 2 ]] || say "  $text …"
    while kill -0 "$pid" 2>/dev/null; do
        if [[ -t 2 ]]; then
            printf '\r\033[2K  %s %s %d s' "${frames[frame++ % 10]}" "$text" $((SECONDS - began)) >&2
        fi
        sleep 0.1
    done
    [[ -t 2 ]] && printf '\r\033[2K' >&2
    trap - INT TERM HUP
    wait "$pid" || status=$?
    ((status)) || say "  ✓ $text ($((SECONDS - began)) s)"
    return "$status"
}

# cause: why the newest step failed, where the tools that ran bury it in what followed from it.
cause() {
    grep -oiEm 1 \
        -e 'connection refused|connection reset by peer|network is unreachable|no route to host' \
        -e 'temporary failure (in name resolution|resolving)|name or service not known' \
        -e 'certificate verify failed|invalid peer certificate|proxy authentication required|not a trusted or secure host' \
        -e '(connect|read|connection) timed? ?out|no space left on device|read-only file system' \
        <<<"$(sed -n 'H; /^== /h; ${x; p}' "$log")"
}

# step TEXT COMMAND…: an attempt without which set-up cannot go on.
step() {
    attempt "$@" && return
    tail -n 15 "$log" | sed 's/^/    /' >&2
    local why
    why=$(cause) && fail "$1 failed: ${why,,}. All of its output is in $log"
    fail "$1 failed; all of its output is in $log"
}

has() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

case ${1:-dev} in
run) extras=(stack) ;;
load) extras=(stack harness) ;;
check | dev) extras=(stack harness otel dev) ;;
*) fail "Usage: scripts/bootstrap.sh [run|load|check|dev]" ;;
esac
[[ -z ${SCOREBOARD_OTLP_ENDPOINT:-} ]] || extras+=(otel)

[[ $OSTYPE == linux* ]] || fail "Set-up needs Linux; docs/platforms.md says what runs elsewhere."
if ! { mkdir -p .scoreboard/logs && [[ -w . ]] && : >>.scoreboard/setup.lock && : >>"$log"; } 2>/dev/null; then
    # What is no question of rights, as a read-only file system or a full disk.
    why=$({ mkdir -p .scoreboard/logs && touch .scoreboard/setup.lock; } 2>&1) || :
    [[ -z $why || $why == *": Permission denied"* ]] || fail "Set-up cannot write to $PWD: ${why##*: }"
    fail "Set-up cannot write to $PWD as $(id -un). Use a clone of your own, or make it yours: sudo chown -R $(id -un) '$PWD'"
fi

# One set-up at a time; the second waits, then finds all done.
exec 9>.scoreboard/setup.lock
flock -n 9 || step "Waiting for another set-up of this checkout" flock 9

python=${PYTHON:-python3}
if ! has "$python"; then
    [[ -z ${PYTHON:-} ]] || fail "PYTHON names $PYTHON, which is not installed. Name another one (make PYTHON=python3.12 …), or leave it out to use python3."
    fail "Python 3.11 or later is not installed. Install it with: apt-get install python3"
fi
version=$("$python" --version 2>&1) || fail "$python does not run: ${version%%$'\n'*}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$version is too old: Python 3.11 or later is needed (or name one: make PYTHON=python3.12 …)"

# The first line of the stamp says what the environment was made of, the second what its packages
# were, the third which extras it has.
made=()
[[ ! -f $stamp ]] || mapfile -t made <"$stamp"
interpreter=$(.venv/bin/python --version 2>&1) || interpreter=
usable=
# A script in .venv/bin names its folder, so a checkout that was moved needs a new environment.
if [[ -n $interpreter && ${made[0]:-} == "$interpreter in $PWD" ]]; then
    [[ -n ${PYTHON:-} && $version != "$interpreter" ]] || usable=1
fi

packages=()
if [[ ${1:-} != check && -z ${SCOREBOARD_MYSQL_URL:-} ]]; then
    if ! has mariadbd && ! has mysqld; then
        packages+=(mariadb-server-core mariadb-client-core)
    elif has mariadbd && ! has mariadb-install-db; then
        packages+=(mariadb-server-core)
    fi
fi
if [[ ${1:-} != check && -z ${SCOREBOARD_REDIS_URL:-} ]] && ! has redis-server && ! has valkey-server && ! has redis-check-rdb; then
    packages+=(redis-tools)
fi
if [[ -z $usable ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
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

# pip_setting NAME: what pip would use, from its variable or its files (`pip config list`).
pip_setting() {
    local variable=PIP_${1^^}
    variable=${variable//-/_}
    if [[ -n ${!variable:-} ]]; then
        printf '%s' "${!variable}"
    else
        sed -n "s/^\(global\|install\)\.$1='\(.*\)'\$/\2/p" <<<"$pip_config" | tail -n 1 | sed 's/\\n/ /g'
    fi
}

# install_packages EXTRA,…: with uv, which takes a fifth of pip's time, or with pip where uv does
# not serve. uv reads no configuration of pip's, which names the mirrors of this machine.
install_packages() {
    local pip=(.venv/bin/pip --disable-pip-version-check) target=(-c constraints.txt -e ".[$1]")
    if attempt "Installing uv, the package installer" \
        "${pip[@]}" install --retries 2 --only-binary :all: -c constraints.txt uv; then
        local pip_config uv=(env UV_INDEX_STRATEGY=unsafe-best-match UV_PYTHON_DOWNLOADS=never) pair value
        pip_config=$("${pip[@]}" config list 2>/dev/null) || pip_config=
        for pair in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS \
            no-index=UV_NO_INDEX trusted-host=UV_INSECURE_HOST cert=SSL_CERT_FILE proxy=ALL_PROXY; do
            value=$(pip_setting "${pair%=*}")
            [[ ${pair#*=} != UV_FIND_LINKS ]] || value=${value// /,}
            [[ -z $value || -n $(printenv "${pair#*=}") ]] || uv+=("${pair#*=}=$value")
        done
        attempt "Installing Python packages" \
            "${uv[@]}" .venv/bin/uv pip install --compile-bytecode --build-constraints constraints.txt \
            --python .venv/bin/python "${target[@]}" && return
    elif cause >/dev/null; then
        fail "Python packages cannot be installed: the package index cannot be used ($(cause)). \`.venv/bin/pip config list\` shows which one pip was told to use; all output is in $log"
    fi
    step "Installing Python packages with pip" "${pip[@]}" install "${target[@]}"
}

if [[ -z $usable ]]; then
    made=()
    step "Making a virtual environment" "$python" -m venv --clear .venv
fi
# An environment keeps what it has: `make up` after `make setup` takes nothing away.
wanted=$(cat pyproject.toml constraints.txt | sha256sum)
all=$(printf '%s\n' "${extras[@]}" ${made[2]:-} | sort -u | paste -sd ' ')
if [[ ${made[1]:-} != "$wanted" || ${made[2]:-} != "$all" ]]; then
    rm -f "$stamp"
    install_packages "${all// /,}"
    printf '%s\n' "$(.venv/bin/python --version) in $PWD" "$wanted" "$all" >"$stamp.new"
    mv "$stamp.new" "$stamp"
fi
