#!/bin/sh
# Before removing, not before an upgrade (deb says "upgrade", rpm 1): no timer may start a program that is gone.
set -e
case "${1:-remove}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now 'camwarden-*.timer' 2>/dev/null || true
		systemctl stop 'camwarden-*.service' 2>/dev/null || true
	fi
	;;
esac
