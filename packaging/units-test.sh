#!/bin/bash
# The units of an installed camwarden below ROOT: systemd accepts every key of them, their exposure is at most 3.0, and
# nothing in them blinds camwarden.
# usage: packaging/units-test.sh ROOT
set -euo pipefail
root=$1
units=$(find "$root/lib/systemd/system" -name 'camwarden-*' | sort)
[ "$(wc -l <<<"$units")" -eq 6 ] || { echo "units-test: want three services and three timers, there are: $units" >&2; exit 1; }

# verify looks for the program and the manual pages on this host: the installed ones stand in.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for unit in $units; do
	sed "s|/usr/bin/camwarden|$root/usr/bin/camwarden|; /^Documentation=man:/d" "$unit" >"$work/$(basename "$unit")"
	while read -r page; do
		[ -s "$root/usr/share/man/man1/$page.1.gz" ] || { echo "units-test: $unit names the page $page, which is not installed" >&2; exit 1; }
	done < <(sed -n 's/^Documentation=man:\([a-z-]*\)(1)$/\1/p' "$unit")
done
# Without the flag misspelt keys pass; with it, whatever is printed is a fault.
said=$(systemd-analyze verify --recursive-errors=no "$work"/camwarden-* 2>&1) || true
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
for unit in "$work"/*.service; do
	level=$(systemd-analyze security --offline=true "$unit" 2>/dev/null | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
	awk -v level="$level" 'BEGIN {exit !(level != "" && level <= 3.0)}' || { echo "units-test: $(basename "$unit"): exposure $level, at most 3.0 is meant" >&2; exit 1; }
	echo "$(basename "$unit"): exposure $level"
	if grep -nE '^(PrivateNetwork|PrivateUsers|PrivatePIDs|ProcSubset|ProtectProc|DynamicUser)=' "$unit"; then
		echo "units-test: $(basename "$unit") has what blinds camwarden" >&2
		exit 1
	fi
done
