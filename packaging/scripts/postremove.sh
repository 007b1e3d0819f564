#!/bin/sh
# After removing. The ledger is of no use without the program. The configuration stays, and goes with a purge (deb), since it
# may hold passwords. Stills are never touched.
set -e
case "${1:-remove}" in
remove | 0)
	rm -rf /run/camwarden
	;;
purge)
	rm -rf /run/camwarden /var/lib/camwarden /etc/camwarden
	;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
