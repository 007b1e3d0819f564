#!/bin/sh
# After installing or upgrading, deb, rpm and apk alike: systemd reads the units. None is started: which subnets are to be
# visited, and when, is for the operator to say (systemctl enable --now camwarden-round@NAME.timer).
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
