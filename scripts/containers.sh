#!/usr/bin/env bash
# Containers for tests: an engine, images, and the tests that use them.
#
#   containers.sh engine   make sure a Docker engine answers; start a private one when none does
#   containers.sh images   make sure the images exist; build stand-ins where none can be pulled
#   containers.sh pytest … both, then pytest with these arguments, its services in containers
#   containers.sh test …   the tests that use services, of the integration suite, and compose.yaml
#   containers.sh running  whether an engine answers
#   containers.sh stop     end the private engine
#
# tests/containers/README.md tells the whole story and names the variables.
set -euo pipefail
cd "$(dirname "$0")/.."

run=/run/scoreboard-docker
data=${SCOREBOARD_DOCKER_DATA:-/var/lib/scoreboard-docker}
log=.scoreboard/logs/containers.log
mkdir -p .scoreboard/logs

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
# quietly TEXT COMMAND…: the output of a long command goes to the log, its end to the terminal.
quietly() {
    local text=$1 began=$SECONDS
    shift
    say "  $text …"
    if ! "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" | sed 's/^/    /' >&2
        fail "$text failed; all of its output is in $log"
    fi
    say "  ✓ $text ($((SECONDS - began)) s)"
}

install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    [[ $(id -u) -eq 0 ]] || fail "Root is needed once: apt-get install ${missing[*]}"
    # No service may start: the engine here is a process of our own.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1
    fi
    quietly "Looking up system packages" apt-get -q update
    quietly "Installing ${missing[*]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y install --no-install-recommends "${missing[@]}"
    [[ -z $made ]] || rm -f "$policy"
}

# Finds an engine, the machine's own or the private one.
running() {
    command -v docker >/dev/null || return 1
    docker info >/dev/null 2>&1 && return
    export DOCKER_HOST=unix://$run/docker.sock
    docker info >/dev/null 2>&1
}

engine() {
    running && compose_command && return
    export DOCKER_HOST=unix://$run/docker.sock
    [[ $(id -u) -eq 0 ]] || fail "No Docker engine answers, and starting one needs root."
    install_packages docker.io iptables ca-certificates debootstrap
    mkdir -p "$run" "$data"
    setsid dockerd --data-root "$data" --exec-root "$run/exec" --pidfile "$run/docker.pid" \
        --host "$DOCKER_HOST" >>.scoreboard/logs/dockerd.log 2>&1 </dev/null &
    local began=$SECONDS
    until docker info >/dev/null 2>&1; do
        if ((SECONDS - began > 60)); then
            tail -n 20 .scoreboard/logs/dockerd.log >&2
            fail "dockerd did not answer within 60 s."
        fi
        sleep 0.2
    done
    say "  ✓ Docker engine ($((SECONDS - began)) s)"
    compose_command
}

compose_command() {
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
        install_packages docker-compose
}

stop() {
    local pid
    pid=$(cat "$run/docker.pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# pull NAME: whether the image is here or can be had from a registry.
pull() { has_image "$1" || timeout 60 docker pull -q "$1" >>"$log" 2>&1; }

build() {
    local name=$1
    shift
    quietly "Building $name" docker build -t "$name" "$@"
}

debian_root() {
    has_image scoreboard-standin/debian && return
    install_packages debootstrap
    local root=$data/debian-root
    rm -rf "$root"
    quietly "Making a Debian root" debootstrap --variant=minbase bookworm "$root"
    tar -C "$root" -c . | docker import - scoreboard-standin/debian >>"$log"
    rm -rf "$root"
}

# The project's image without a package index: wheels made out here, installed in there.
wheelhouse() {
    [[ .wheelhouse/complete -nt constraints.txt && .wheelhouse/complete -nt pyproject.toml ]] && return
    rm -rf .wheelhouse
    mkdir .wheelhouse
    .venv/bin/python - >.wheelhouse/requirements.txt <<'PYTHON'
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))
print(*project["project"]["dependencies"], *project["build-system"]["requires"], sep="\n")
# The image's Python may be older than the one that collects: before 3.11.3 redis needs this.
print("async-timeout")
PYTHON
    quietly "Collecting wheels" .venv/bin/pip wheel --disable-pip-version-check \
        -w .wheelhouse -c constraints.txt -r .wheelhouse/requirements.txt
    touch .wheelhouse/complete
}

images() {
    # One builds, the others wait and find all done.
    exec 8>.scoreboard/images.lock
    flock 8
    : "${SCOREBOARD_MYSQL_IMAGE:=mysql:8.4}" "${SCOREBOARD_REDIS_IMAGE:=redis:8}"
    : "${SCOREBOARD_TEMPORAL_IMAGE:=temporalio/temporal:1.9.1}"
    : "${SCOREBOARD_BASE_IMAGE:=python:3.11-slim}" "${SCOREBOARD_PIP_ARGS:=}"
    local image standins=
    for image in "$SCOREBOARD_REDIS_IMAGE" "$SCOREBOARD_MYSQL_IMAGE" \
        "$SCOREBOARD_TEMPORAL_IMAGE" "$SCOREBOARD_BASE_IMAGE"; do
        pull "$image" || { say "  $image cannot be pulled: stand-ins from Debian packages serve instead" && standins=1 && break; }
    done
    if [[ -n $standins ]]; then
        # The classic builder: the other one is a plugin that Debian does not have.
        export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
        debian_root
        local standin=scoreboard-standin base=scoreboard-standin/base
        build "$base" tests/containers/base
        build "$standin/mysql" --build-arg "BASE=$base" tests/containers/mysql
        build "$standin/redis" --build-arg "BASE=$base" tests/containers/redis
        local context=.scoreboard/temporal-image
        mkdir -p "$context"
        cp tests/containers/temporal/Dockerfile .venv/bin/temporal "$context"
        build "$standin/temporal" --build-arg "BASE=$base" "$context"
        rm -r "$context"
        wheelhouse
        SCOREBOARD_MYSQL_IMAGE=$standin/mysql SCOREBOARD_REDIS_IMAGE=$standin/redis
        SCOREBOARD_TEMPORAL_IMAGE=$standin/temporal SCOREBOARD_BASE_IMAGE=$base
        SCOREBOARD_PIP_ARGS="--no-index --find-links /wheelhouse"
    fi
    export SCOREBOARD_MYSQL_IMAGE SCOREBOARD_REDIS_IMAGE SCOREBOARD_TEMPORAL_IMAGE
    export SCOREBOARD_BASE_IMAGE SCOREBOARD_PIP_ARGS
    exec 8>&-
}

run_pytest() {
    # The helper container that would clean up after a crash is one more image to pull.
    export TESTCONTAINERS_RYUK_DISABLED=true TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1
    export TESTCONTAINERS_CONNECTION_MODE=docker_host
    # A hang must end, and say where.
    timeout --foreground --kill-after=30 1500 .venv/bin/python -m pytest --services containers "$@"
}

case ${1:-} in
engine) engine ;;
images) engine && images ;;
pytest)
    shift
    engine
    images
    run_pytest "$@"
    ;;
test)
    shift
    engine
    images
    run_pytest -m services tests/integration "$@"
    run_pytest -m containers tests/containers "$@"
    ;;
running) running ;;
stop) stop ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
