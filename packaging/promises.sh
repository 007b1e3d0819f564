#!/bin/bash
# Take the code of each promise out, one after the other, and demand that a test sees it: see docs/testing.md.
# usage: packaging/promises.sh [PATCH...]   default testdata/promises/*.patch
# What is tried is the last commit, in a clone. A patch begins with a line that says what it takes away, and one "Seen by:".
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- testdata/promises/*.patch

clone=$(mktemp -d)
run=$(cat /proc/sys/kernel/random/uuid)
trap 'rm -rf "$clone"' EXIT
git clone -q . "$clone/it"

# What a broken promise leaves alive carries the mark of this run.
sweep() {
	local environ
	for environ in /proc/[0-9]*/environ; do
		if grep -qz "^CAMWARDEN_TEST_RUN=$run" "$environ" 2>/dev/null; then
			kill -KILL "$(basename "$(dirname "$environ")")" 2>/dev/null || true
		fi
	done
}

status=0
for patch; do
	promise=$(basename "${patch%%-*}")
	read -r package name < <(sed -n 's/^Seen by: //p' "$patch")
	verdict=
	if ! grep -q "^| $promise |.*$name" docs/testing.md; then
		verdict="$name does not stand in the row of $promise"
	elif ! git -C "$clone/it" apply -C1 "$PWD/$patch"; then
		verdict="it does not apply any more"
	elif ! (cd "$clone/it" && go vet "$package" >/dev/null); then
		verdict="it does not compile any more"
	elif (cd "$clone/it" && CAMWARDEN_TEST_RUN=$run go test -count=1 -timeout 2m -run "^$name\$" "$package") >"$clone/log" 2>&1; then
		verdict="nobody has seen it: $name passes"
	elif ! grep -q "$name" "$clone/log"; then
		verdict="$name did not run"
	fi
	sweep
	git -C "$clone/it" checkout -q .
	if [ -n "$verdict" ]; then
		status=1
		echo "$(basename "$patch"): $verdict" >&2
	else
		echo "$(basename "$patch"): seen by $name"
	fi
done
exit "$status"
