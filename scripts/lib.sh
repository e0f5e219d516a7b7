# shellcheck shell=bash
# What the set-up scripts share: where things are, one line a stage with its time, one message when something is missing.
# Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$ROOT/.state
VENV=$ROOT/.venv
PYTHON=$VENV/bin/python
mkdir -p "$STATE"

say() { printf '[set-up] %s\n' "$*"; }

# give_up WHAT TO_DO: one message, no traceback.
give_up() {
    printf '[set-up] error: %s\n[set-up]   %s\n' "$1" "$2" >&2
    exit 4
}

# stage NAME COMMAND...: run quietly with its time; on failure show the end of its output.
stage() {
    local name=$1 started=$EPOCHREALTIME log status=0
    shift
    log=$STATE/$(printf %s "$name" | tr -cs 'a-z0-9' -).log
    printf '[set-up] %s ...\n' "$name"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 25 "$log" | sed 's/^/    /' >&2
        give_up "$name failed with exit code $status" "the lines above are its last; all of them: $log"
    fi
    printf '[set-up] %s: %s s\n' "$name" "$(seconds_since "$started")"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# can_install: as root on Debian or Ubuntu; anywhere else people install things themselves.
can_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; }

# apt_install PACKAGE...: refreshes the lists first.
apt_install() {
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# engine_answers: as the harness itself would ask (DOCKER_HOST counts), within 10 s.
engine_answers() {
    "$PYTHON" - <<'PYTHON_END' >/dev/null 2>&1
import docker

client = docker.from_env(timeout=10)
client.ping()
client.close()
PYTHON_END
}
