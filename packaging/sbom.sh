#!/bin/bash
# Print the software bill of materials as CycloneDX JSON: each module that is linked into the binary, with version and hash.
# It is read off a binary, so that it cannot name what is not in it. What differs between two builds or two platforms (time,
# hashes of the binary and of the tool) is left out, so that the same commit gives the same bytes. Needs jq.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$work/camwarden" ./cmd/camwarden
go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0 bin -json -noserial -std "$work/camwarden" >"$work/sbom" 2>"$work/said" ||
	{ cat "$work/said" >&2; exit 1; }
jq "del(.metadata.timestamp, .metadata.properties, .metadata.tools[].hashes)" "$work/sbom"
