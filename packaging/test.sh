#!/bin/bash
# Vet, then every test with the race detector, then the question whether anything of this run is still alive.
# Every process that a test starts inherits CAMWARDEN_TEST_RUN; the value is this run's own.
set -euo pipefail
cd "$(dirname "$0")/.."

run=$(cat /proc/sys/kernel/random/uuid)
log=$(mktemp)
whole=$(mktemp)
trap 'rm -f "$log" "$whole"' EXIT

tests() {
	env CAMWARDEN_TEST_RUN="$run" go test -race -count=1 -timeout 20m -v "$@" 2>&1
}

go vet ./...
status=0
# The tests of the whole program spend most of their time waiting for time-outs, so more of them run at once. The others
# decode and hash: two at a time would only take from each other.
whole_program=github.com/camwarden/camwarden/cmd/camwarden
tests -parallel 6 "$@" "$whole_program" >"$whole" &
# shellcheck disable=SC2046 # the packages are words
tests -p 1 "$@" $(go list ./... | grep -vx "$whole_program") >"$log" || status=$?
wait $! || status=$?
cat "$whole" >>"$log"
if [ "$status" -ne 0 ]; then
	# What failed, and what it said: -v is for the figures below, not for the eye.
	grep -vE '^=== (RUN|PAUSE|CONT|NAME)|^ *--- (PASS|SKIP)|^PASS$' "$log" || true
else
	grep -E '^(ok|FAIL|panic)' "$log" || true
fi
grep -E '^ *--- SKIP' "$log" | sort -u || true
printf '%s tests passed, %s failed, %s skipped, in %d s\n' \
	"$(grep -cE '^ *--- PASS' "$log" || true)" "$(grep -cE '^ *--- FAIL' "$log" || true)" \
	"$(grep -cE '^ *--- SKIP' "$log" || true)" "$SECONDS"

packaging/survivors.sh "$run" || status=1
exit "$status"
