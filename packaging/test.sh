#!/bin/bash
# Vet, then every test with the race detector, then the question whether anything of this run is still alive.
# Three at a time in each package (cmd/camwarden: five), and two packages at a time: most of them wait, and few work, on two
# processors.
# The slowest twenty are named at the end. With CAMWARDEN_LONG=1 the long cases run too: docs/testing.md says which those are.
# Every process that a test starts inherits CAMWARDEN_TEST_RUN; the value is this run's own.
set -euo pipefail
cd "$(dirname "$0")/.."

run=$(cat /proc/sys/kernel/random/uuid)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

CGO_ENABLED=0 go vet ./... # as the programs that tests build: what is compiled for the one serves the other
status=0
env CAMWARDEN_TEST_RUN="$run" GORACE=atexit_sleep_ms=0 go test -race -count=1 -parallel 3 -timeout 60m -v "$@" ./... >"$log" 2>&1 || status=$?
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

echo "the slowest twenty, in seconds of their own (a wait for a turn is not counted):"
awk '
	# Under go test -v the tests of a package stand before the line of the package.
	/^ *--- (PASS|FAIL): / {
		tests++
		name[tests] = $3
		took[tests] = substr($4, 2, length($4) - 3)
	}
	/^(ok|FAIL)[ \t]+[^ \t]+\// {
		for (i = 1; i <= tests; i++) {
			printf "%8.2f  %s %s\n", took[i], $2, name[i]
		}
		tests = 0
	}
' "$log" | sort -rn | head -n 20 || true
exit "$status"
