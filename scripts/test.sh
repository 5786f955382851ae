#!/usr/bin/env bash
# The tests, with what they need beyond `make setup`.
#
#   test.sh             all: a browser is installed and a Docker engine started where they are
#                       missing, which needs root; without it those tests say that they are left out
#   test.sh ARGUMENT…   pytest with these arguments, on what is here
set -euo pipefail
cd "$(dirname "$0")/.."

(($#)) && exec .venv/bin/python -m pytest "$@"

# A hang must end, and say where; both suites take minutes.
limited() { timeout --foreground --kill-after=30 3300 "$@"; }

is_root() { [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; }
if ! { command -v chromium && command -v chromedriver; } >/dev/null && is_root; then
    printf '  Installing chromium chromium-driver …\n' >&2
    {
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
            chromium chromium-driver
    } >>.scoreboard/logs/setup.log 2>&1 </dev/null ||
        printf 'The browser could not be installed; .scoreboard/logs/setup.log says why.\n' >&2
fi

limited .venv/bin/python -m pytest

if ! scripts/containers.sh running; then
    if ! is_root; then
        printf '\nLeft out: the tests on containers. No Docker engine answers, and starting one needs root.\n' >&2
        [[ -z ${CI:-} ]] && exit 0
        exit 1
    fi
    # One that was started for these tests ends with them.
    trap 'scripts/containers.sh stop' EXIT
fi
limited scripts/containers.sh test
