#!/bin/bash
# Lay out below DIR all that is installed beside the binary: man pages, completions, units, the example configuration,
# schemas, copyright, licences of dependencies. The same commit gives the same bytes and modes, whatever the umask.
# usage: packaging/stage.sh DIR [VERSION [PREFIX]]
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
dir=$1 version=${2:-0~unreleased} prefix=${3:-/usr}
share=$dir$prefix/share doc=$dir$prefix/share/doc/camwarden
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

put() { install -D -m 0644 "$1" "$2"; }
compressed() { install -d "$(dirname "$2")" && gzip -9nc "$1" >"$2" && chmod 0644 "$2"; }

for page in man/*.1; do compressed "$page" "$share/man/man1/$(basename "$page").gz"; done
put completions/camwarden.bash "$share/bash-completion/completions/camwarden"
put completions/camwarden.fish "$share/fish/vendor_completions.d/camwarden.fish"
put completions/_camwarden "$share/zsh/vendor-completions/_camwarden"

for unit in packaging/systemd/*; do
	put "$unit" "$dir$prefix/lib/systemd/system/$(basename "$unit")"
	sed -i "s|/usr/bin/camwarden|$prefix/bin/camwarden|" "$dir$prefix/lib/systemd/system/$(basename "$unit")"
done
install -d -m 0700 "$dir/etc/camwarden/secrets"

put README.md "$doc/README.md"
compressed CHANGELOG.md "$doc/changelog.gz"
put packaging/copyright "$doc/copyright"
packaging/licences.sh >"$doc/licences-of-dependencies"
chmod 0644 "$doc/licences-of-dependencies"
install -d "$doc/examples"
go run ./cmd/camwarden config init -q -c "$doc/examples/config.yaml" && chmod 0644 "$doc/examples/config.yaml"

for schema in pkg/schema/*.json; do put "$schema" "$share/camwarden/schema/$(basename "$schema")"; done
packaging/sbom.sh >"$share/camwarden/sbom.cdx.json"
chmod 0644 "$share/camwarden/sbom.cdx.json"
put packaging/cron.example "$doc/examples/camwarden.cron"

printf 'camwarden (%s) unstable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n -- The camwarden authors <camwarden@users.noreply.github.com>  %s\n' \
	"$version" "$(date -u -R -d "@$when")" >"$doc/changelog.Debian"
gzip -9nf "$doc/changelog.Debian"

# The archive's own layout, from the same files; and every time is the commit's.
if [ "$prefix" = /usr ]; then
	archive=$dir/archive
	for page in man/*.1; do put "$page" "$archive/$page"; done
	for script in completions/*; do put "$script" "$archive/$script"; done
	for unit in packaging/systemd/*; do put "$unit" "$archive/systemd/$(basename "$unit")"; done
	put packaging/cron.example "$archive/examples/camwarden.cron"
	cp -p "$doc/examples/config.yaml" "$archive/examples/config.yaml"
	cp -p "$doc/licences-of-dependencies" "$archive/licences-of-dependencies"
	cp -rp "$share/camwarden/." "$archive"
fi
[ -z "${SOURCE_DATE_EPOCH:-}" ] || find "$dir" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
