#!/bin/bash
# A round over a simulated subnet of good and bad cameras: the table, the pictures in ./demo, the verdict,
# and then the cameras' own word for what is still open. Needs bin/camwarden, bin/camsim and ffmpeg: make demo.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
bin/camsim --mixed --onvif 8000 --exit-with-parent --counts 127.0.0.1:0 --config "$work/camsim.yaml" >"$work/cameras" 2>"$work/talk" &
camsim=$!
finish() {
	kill "$camsim" 2>/dev/null || true
	wait "$camsim" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

for _ in {1..100}; do
	[ -s "$work/camsim.yaml" ] && grep -q 'counts at' "$work/talk" && break
	kill -0 "$camsim" 2>/dev/null || { cat "$work/talk" >&2; exit 1; }
	sleep 0.1
done
echo "These cameras are simulated, each with a temper of its own:"
echo
cat "$work/cameras"

subnet=$(sed -n 's/^subnets: {sim: \["\(.*\)"\]}/\1/p' "$work/camsim.yaml")
echo
echo "\$ camwarden discover $subnet --ports 8554,8000 --timeout 1s"
bin/camwarden -c /dev/null --state-dir "$work/state" discover "$subnet" --ports 8554,8000 --timeout 1s ||
	echo "exit code $? (1 is right here: some of these cameras never say a word)"

echo
echo "\$ camwarden round sim -d demo --timeout 5s"
code=0
bin/camwarden -c "$work/camsim.yaml" --state-dir "$work/state" round sim -d demo --timeout 5s || code=$?
case $code in
0 | 1) echo "exit code $code (1 is right here: some of these cameras can never give a picture)" ;;
*) echo "exit code $code" >&2; exit "$code" ;;
esac

# The witness: camsim shares no code with what it counts.
counts() {
	local at
	at=$(sed -n 's|.*http://127.0.0.1:\([0-9]*\)/counts.*|\1|p' "$work/talk")
	exec 3<>"/dev/tcp/127.0.0.1/$at"
	printf 'GET /counts HTTP/1.0\r\n\r\n' >&3
	cat <&3
}
open=$(counts | grep -o '"connections": *[0-9]*' | awk '{sum += $NF} END {print sum + 0}')
echo "the cameras themselves count $open open connections"
echo "pictures: $(find demo -name '*.jpg' -type f | wc -l), for example $(find demo -name latest.jpg | sort | head -n 1)"
