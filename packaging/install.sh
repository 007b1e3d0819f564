#!/bin/sh
# Install the Debian packages named, those that are missing, and say what it does.
# usage: packaging/install.sh PACKAGE...
set -eu

missing() {
	for package; do
		case $package in
		# Programs may have come from elsewhere than a package.
		ffmpeg | gcc) command -v "$package" >/dev/null || echo "$package" ;;
		*) dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package" ;;
		esac
	done
}

if ! command -v apt-get >/dev/null; then
	echo "install.sh: this is no Debian; please install by your own means: $*" >&2
	exit 0
fi
wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "install.sh: neither root nor sudo; as root: apt-get install $(echo "$wanted" | tr '\n' ' ')" >&2
		exit 1
	}
	as_root=sudo
fi
echo "installing: $(echo "$wanted" | tr '\n' ' ')" >&2
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086 # the packages are words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted >/dev/null
