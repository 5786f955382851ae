# Stages with their times, and lanes of stages side by side. Sourced by `run` and `nightly`.

ended=$(mktemp -d)
started=$SECONDS

# stage NAME COMMAND…: runs it and says how long that took. A failure is kept for `verdict`, so that
# the other stages still tell theirs.
stage() {
    local name=$1 began=$SECONDS code took
    shift
    printf '\n== %s\n' "$name"
    # In a process of its own, and not as a condition: both would switch errexit off inside.
    set +e
    (
        set -e
        "$@"
    ) </dev/null 2>&1 | tee "$ended/$name"
    code=${PIPESTATUS[0]}
    set -e
    took="$((SECONDS - began)) s"
    if ((code)); then
        took="$took and FAILED"
        printf '%s\n' "$name" >>"$ended/failed"
    fi
    printf '== %s took %s\n' "$name" "$took" | tee -a "$ended/times"
}

# lanes FUNCTION…: the stages of each one after the other, the lanes side by side; each line says
# which lane it is from.
lanes() {
    local lane
    for lane in "$@"; do
        "$lane" 2>&1 | sed -u "s/^/${lane#lane_} | /" &
    done
    wait
}

# verdict: the end of what each failed stage said, and the times of all; fails when one did.
verdict() {
    local name
    while read -r name; do
        printf '\n== The end of %s, which failed\n' "$name"
        tail -n 60 "$ended/$name"
    done < <(cat "$ended/failed" 2>/dev/null)
    printf '\n'
    cat "$ended/times"
    printf '== All took %d s\n' $((SECONDS - started))
    [[ ! -e $ended/failed ]]
}

# tests ARGUMENT…: the README's test command on a part of the tests. A hang must end, and say where.
tests() {
    timeout --foreground --kill-after=30 1500 make test ARGS="--dist loadgroup $*"
}
