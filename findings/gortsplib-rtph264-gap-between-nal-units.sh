#!/bin/sh
# gortsplib's H.264 depacketizer (pkg/format/rtph264, Decoder.Decode) gives an access unit from which a packet is missing, without
# an error, when the packet held whole NAL units: it follows sequence numbers only within one fragmented NAL unit (FU-A).
#
# Seen with github.com/bluenviron/gortsplib/v5 v5.6.4. A picture of three slices, one packet each, of which the second never
# arrives. Expected, as for a lost fragment: an error, or no access unit. Seen: an access unit of two NAL units and no error,
# which a decoder conceals into a picture. Whoever wants whole pictures has to compare the numbers before Decode.
#
# Needs Go. Exits 0 while it is so, 1 when it has changed, 2 when it could not be tried.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module finding

go 1.26
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/pion/rtp"
)

func packet(number uint16, payload []byte, marker bool) *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: number, Timestamp: 9000, SSRC: 1, Marker: marker}, Payload: payload}
}

func main() {
	slices := [][]byte{{0x65, 0x88, 0x80, 0x10}, {0x65, 0x04, 0x88, 0x10}, {0x65, 0x06, 0x88, 0x10}} // first_mb_in_slice 0, 3, 5
	fragments := [][]byte{{0x7c, 0x85, 0x88, 0x80}, {0x7c, 0x05, 0x10, 0x20}, {0x7c, 0x45, 0x30, 0x40}}
	for name, payloads := range map[string][][]byte{"NAL units": slices, "fragments": fragments} {
		d := &rtph264.Decoder{PacketizationMode: 1}
		if err := d.Init(); err != nil {
			os.Exit(2)
		}
		_, _ = d.Decode(packet(10, payloads[0], false))
		unit, err := d.Decode(packet(12, payloads[2], true)) // 11 is lost
		fmt.Printf("%s: %d in the access unit, error: %v\n", name, len(unit), err)
		if lost := err != nil; lost != (name == "fragments") || name == "NAL units" && len(unit) != 2 {
			os.Exit(1)
		}
	}
}
GO
if ! { go get github.com/bluenviron/gortsplib/v5@v5.6.4 && go mod tidy && go build -o finding .; } >log 2>&1; then
	cat log
	exit 2
fi
go list -m github.com/bluenviron/gortsplib/v5
./finding
