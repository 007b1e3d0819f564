#!/bin/bash
# Print the licence of Go and of every module that the binary is built of, as their authors ship them. Fails where one has none.
set -euo pipefail
cd "$(dirname "$0")/.."
printf '==== %s standard library: LICENSE\n\n' "$(go env GOVERSION)"
cat "$(go env GOROOT)/LICENSE"
printf '\n\n'
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/camwarden | sort -u |
	while read -r path version folder; do
		found=
		for file in "$folder"/LICEN[SC]E* "$folder"/COPYING* "$folder"/NOTICE*; do
			[ -f "$file" ] || continue
			found=yes
			printf '==== %s %s: %s\n\n' "$path" "$version" "$(basename "$file")"
			cat "$file"
			printf '\n\n'
		done
		[ -n "$found" ] || { echo "licences.sh: $path $version has no licence file" >&2; exit 1; }
	done
