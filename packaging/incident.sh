#!/bin/bash
# The incident, replayed: a camserver leaks real ffmpegs at simulated cameras that never answer, 22 at one and one at each of
# three others; camwarden sees why, ends them, and sees that it is over. Needs bin/camwarden, bin/camserver and ffmpeg: make incident.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
mkfifo "$work/hold"
bin/camserver "$work/config.yaml" <"$work/hold" >"$work/ready" &
camserver=$!
exec 3>"$work/hold" # camserver lives until this is closed
finish() {
	exec 3>&-
	wait "$camserver" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

echo "camserver (pid $camserver) takes stills with ffmpeg, and forgets those that hang..."
for _ in {1..600}; do
	[ -s "$work/ready" ] && break
	kill -0 "$camserver" 2>/dev/null || exit 1
	sleep 0.1
done
subnet=$(sed -n 's/.*"Subnet":"\([^"]*\)".*/\1/p' "$work/ready")
sleep 2 # here a capture is overdue after 2 s; where nobody says otherwise, after 5 minutes

# show CODE COMMAND...: what a person would type, and what comes; the exit code must be CODE.
show() {
	local want=$1 code=0
	shift
	echo
	echo "\$ $*"
	"bin/$1" -c "$work/config.yaml" --state-dir "$work/state" "${@:2}" || code=$?
	[ "$code" -eq "$want" ] || { echo "exit code $code, want $want" >&2; exit 1; }
}
show 1 camwarden doctor "$subnet"
show 0 camwarden reap "$subnet" --dry-run
show 0 camwarden reap "$subnet"
show 0 camwarden doctor "$subnet"
echo
kill -0 "$camserver" && echo "camserver (pid $camserver) is alive and unharmed"
