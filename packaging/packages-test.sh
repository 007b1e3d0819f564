#!/bin/bash
# Build the packages of HEAD twice and of a later version once, in a clone of its own, and try them: byte-identical whatever
# the umask, no error of lintian, installed, used, upgraded, removed and purged in a throw-away Debian, units that systemd
# accepts. As root: make packages-test.
set -euo pipefail
cd "$(dirname "$0")/.."
packaging/install.sh jq lintian debootstrap systemd

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "packages-test: $*" >&2; exit 1; }

git clone -q --no-hardlinks . "$work/clone"
clone() { git -C "$work/clone" -c user.name=camwarden -c user.email=camwarden@users.noreply.github.com "$@"; }
build() { # build INTO UMASK
	(umask "$2" && cd "$work/clone" && make -s packages >"$work/said" 2>&1) || { cat "$work/said" >&2; fail "make packages failed"; }
	mkdir "$work/$1" && cp "$work"/clone/dist/*.{deb,rpm,apk,tar.gz,txt} "$work/$1"
}

clone tag v0.0.1
build first 022
build again 077
diff "$work/first/checksums.txt" "$work/again/checksums.txt" || fail "two builds of one commit differ"
echo "reproducible: $(wc -l <"$work/first/checksums.txt") files are the same twice, with umask 022 and 077"

clone commit -q --allow-empty -m "a later version"
clone tag v0.0.2
build later 022

lintian --fail-on error --no-tag-display-limit "$work"/first/*_amd64.deb >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "lintian has errors"; }
echo "lintian: no error, $(grep -c '^W:' "$work/said" || true) warnings"

root=$work/root
debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian >"$work/said" 2>&1 || { tail -n 5 "$work/said" >&2; fail "debootstrap failed"; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root "$@"; }
listed() { (cd "$root" && find etc lib usr var/lib/camwarden run/camwarden -path '*camwarden*' 2>/dev/null | sort) || true; }

cp "$work"/first/*_amd64.deb "$root/first.deb"
cp "$work"/later/*_amd64.deb "$root/later.deb"
inside dpkg -i /first.deb >/dev/null
[ "$(stat -c '%a %U' "$root/etc/camwarden/secrets")" = "700 root" ] || fail "/etc/camwarden/secrets can be read by others"
inside camwarden version
inside camwarden config init -q
inside camwarden config check
inside camwarden schema round | jq -e '.title == "camwarden.round/1"' >/dev/null || fail "no schema"
for file in /usr/share/man/man1/camwarden-round.1.gz /usr/share/bash-completion/completions/camwarden \
	/usr/share/zsh/vendor-completions/_camwarden /usr/share/fish/vendor_completions.d/camwarden.fish \
	/usr/share/doc/camwarden/copyright /usr/share/doc/camwarden/licences-of-dependencies /usr/share/camwarden/sbom.cdx.json \
	/usr/share/camwarden/schema/round.json /usr/share/doc/camwarden/examples/config.yaml '/lib/systemd/system/camwarden-round@.timer'; do
	[ -s "$root$file" ] || fail "the deb has no $file"
done
echo "# mine" >>"$root/etc/camwarden/config.yaml"
inside dpkg -i /later.deb >/dev/null
inside camwarden version | head -n 1
grep -q '^# mine$' "$root/etc/camwarden/config.yaml" || fail "an upgrade touched the configuration"
inside dpkg -r camwarden >/dev/null
grep -q '^# mine$' "$root/etc/camwarden/config.yaml" || fail "removing touched the configuration"
[ ! -e "$root/usr/bin/camwarden" ] || fail "removed, and still there"
inside dpkg -P camwarden >/dev/null
left=$(listed)
[ -z "$left" ] || fail "purged, and left: $left"
echo "deb: installed, used, upgraded, removed, purged; nothing is left"

# The units where they are installed, against the program and the pages that they name.
inside dpkg -i /first.deb >/dev/null
packaging/units-test.sh "$root"

for package in "$work"/first/*_amd64.rpm "$work"/first/*_amd64.apk; do [ -s "$package" ] || fail "no $package"; done
tar -xzOf "$work"/first/*_amd64.tar.gz systemd/camwarden-round@.service >/dev/null || fail "the archive has no units"
