#!/bin/bash
# Fail if a process lives whose environment carries the mark of a test run; what is just dying gets five seconds.
# usage: packaging/survivors.sh RUN
set -euo pipefail

marked() {
	local environ
	for environ in /proc/[0-9]*/environ; do
		if grep -qz "^CAMWARDEN_TEST_RUN=$1" "$environ" 2>/dev/null; then
			basename "$(dirname "$environ")"
		fi
	done
}

for _ in 1 2 3 4 5; do
	alive=$(marked "$1")
	if [ -z "$alive" ]; then
		echo "nothing of this run is alive"
		exit 0
	fi
	sleep 1
done
echo "still alive, and of this run:" >&2
# shellcheck disable=SC2086 # the pids are words
ps -o pid=,ppid=,etime=,stat=,args= -p $alive >&2 || true
exit 1
