#!/bin/sh
# ffmpeg decodes nothing of a VP9 stream that is joined between two key frames, however many key frames follow, if a packet with a
# hidden frame (a superframe, as libvpx makes them with its defaults) comes before the first key frame.
#
# Seen with Debian's ffmpeg 5.1.9 and with the build of 2018 that npm's @ffmpeg-installer/linux-x64 4.1.0 installs, which this script uses.
# Expected: pictures from the first key frame on. Seen: none; from the superframe on every packet ends in "Resource temporarily
# unavailable" (EAGAIN). With -c:v libvpx-vp9, or without hidden frames (-lag-in-frames 0), pictures come.
#
# Needs npm and node. Exits 0 while it is so, 1 when it has changed, 2 when it could not be tried.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @ffmpeg-installer/linux-x64@4.1.0 >/dev/null || exit 2
ffmpeg=$work/node_modules/@ffmpeg-installer/linux-x64/ffmpeg
chmod +x "$ffmpeg"
"$ffmpeg" -hide_banner -version | head -1

# encode LAG FILE: 120 pictures, a key frame every 60, without the first 20 of them.
encode() {
	"$ffmpeg" -nostdin -hide_banner -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 120 -c:v libvpx-vp9 \
		-deadline realtime -cpu-used 8 -b:v 300k -g 60 -keyint_min 60 -lag-in-frames "$1" whole.ivf
	node -e '
		const fs = require("fs"), file = fs.readFileSync("whole.ivf");
		let at = 32;
		for (let n = 0; n < 20; n++) at += 12 + file.readUInt32LE(at);
		fs.writeFileSync(process.argv[1], Buffer.concat([file.subarray(0, 32), file.subarray(at)]));' "$2"
}

# decoded FILE [OPTIONS]: how many pictures ffmpeg decodes of it.
decoded() {
	file=$1
	shift
	"$ffmpeg" -nostdin -hide_banner -loglevel verbose "$@" -i "$file" -f null - 2>&1 | sed -n 's/.*packets read.* \([0-9]*\) frames decoded.*/\1/p'
}

encode 25 hidden.ivf
encode 0 plain.ivf
hidden=$(decoded hidden.ivf)
plain=$(decoded plain.ivf)
libvpx=$(decoded hidden.ivf -c:v libvpx-vp9)
echo "pictures decoded: $hidden with hidden frames, $plain without, $libvpx with hidden frames by libvpx"
[ "$hidden" = 0 ] && [ "$plain" -ge 60 ] && [ "$libvpx" -ge 60 ]
