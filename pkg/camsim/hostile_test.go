package camsim_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// beginning reads n bytes of what comes.
func beginning(c *client, n int) []byte {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	raw := make([]byte, n)
	if got, err := io.ReadFull(c.reader, raw); err != nil {
		c.t.Fatalf("%d bytes, then %v", got, err)
	}
	return raw
}

// packet is an RTP packet as it came.
type packet struct {
	channel  byte
	marker   bool
	sequence uint16
	stamp    uint32
	payload  []byte
}

// packets reads n of them.
func packets(c *client, n int) (all []packet) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for len(all) < n {
		channel, raw, err := c.frame()
		if err != nil || len(raw) < 13 {
			c.t.Fatalf("after %d packets: %d bytes, %v", len(all), len(raw), err)
		}
		all = append(all, packet{channel, raw[1]&0x80 != 0, binary.BigEndian.Uint16(raw[2:]), binary.BigEndian.Uint32(raw[4:]), raw[12:]})
	}
	return all
}

func TestAnAnswerToDescribeMayHaveNoEnd(t *testing.T) {
	t.Parallel()
	const much = 4 << 20
	for temper, want := range map[camsim.Temper]struct {
		announced string // Content-Length
		headers   bool   // do they end?
	}{
		camsim.EndlessHeaders: {"", false},
		camsim.EndlessSDP:     {"", true},
		camsim.HugeBody:       {strconv.Itoa(1 << 30), true},
	} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			client := dial(t, camera)
			client.options()
			if _, err := io.WriteString(client.conn, "DESCRIBE "+client.url+" RTSP/1.0\r\nCSeq: 77\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			text := string(beginning(client, much))
			if !strings.HasPrefix(text, "RTSP/1.0 200 OK\r\nCSeq: 77\r\n") {
				t.Errorf("it begins with %.60q", text)
			}
			if head, _, ends := strings.Cut(text, "\r\n\r\n"); ends != want.headers || strings.Contains(head, "Content-Length: "+want.announced) != (want.announced != "") {
				t.Errorf("the headers should end: %v, announcing %q; they are %.200q", want.headers, want.announced, head)
			}
		})
	}
	t.Run("drop by drop", func(t *testing.T) {
		t.Parallel()
		delay := 30 * time.Millisecond
		client := dial(t, start(t, camsim.Config{Temper: camsim.DrippingBody, Delay: delay}))
		client.options()
		_, _ = io.WriteString(client.conn, "DESCRIBE "+client.url+" RTSP/1.0\r\nCSeq: 77\r\n\r\n")
		for text := ""; !strings.HasSuffix(text, "\r\n\r\nv=0\r\n"); {
			text += string(beginning(client, 1))
		}
		began := time.Now()
		if got := beginning(client, 5); string(got) != "xxxxx" || time.Since(began) < 4*delay {
			t.Errorf("%q came within %s, want a byte every %s", got, time.Since(began), delay)
		}
	})
}

func TestADigestChallengeMayNeverEnd(t *testing.T) {
	t.Parallel()
	camera := start(t, camsim.Config{Temper: camsim.EndlessDigest, Username: "user", Password: "secret"})
	client := dial(t, camera)
	client.options()
	var seen []string
	answer := client.ask(401, "DESCRIBE", client.url)
	for range 5 {
		challenge := answer.header.Get("WWW-Authenticate")
		if slices.Contains(seen, challenge) || !strings.HasPrefix(challenge, "Digest ") || !strings.Contains(challenge, "stale=true") {
			t.Errorf("the challenge %q is none, or not new", challenge)
		}
		seen = append(seen, challenge)
		answer = client.ask(401, "DESCRIBE", client.url, digest(challenge, "user", "secret", client.url))
	}
	if got := camera.Counts(); got.Challenges != 1 || got.LoginsFailed != 5 || got.Logins != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestPlayMayBeAnsweredByAFloodOnly(t *testing.T) {
	t.Parallel()
	for _, codec := range []camsim.Codec{camsim.H264, camsim.H265, camsim.MJPEG} {
		camera := start(t, camsim.Config{Temper: camsim.FloodBeforePlay, Codec: codec})
		client := dial(t, camera)
		client.options()
		client.describe()
		client.setup(200)
		_, _ = io.WriteString(client.conn, "PLAY "+client.url+" RTSP/1.0\r\nCSeq: 9\r\n\r\n")
		for i, p := range packets(client, 2000) {
			if p.channel != 0 || p.marker {
				t.Fatalf("%s: packet %d is on channel %d with marker %v", codec, i, p.channel, p.marker)
			}
		}
		_ = client.conn.Close()
		eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections+c.Sessions == 0 })
	}
}

func TestMediaMayMakeNoSense(t *testing.T) {
	t.Parallel()
	watch := func(t *testing.T, temper camsim.Temper, codec camsim.Codec, n int) []packet {
		t.Helper()
		client := dial(t, start(t, camsim.Config{Temper: temper, Codec: codec}))
		client.watch()
		return packets(client, n)
	}
	both := func(t *testing.T, check func(t *testing.T, codec camsim.Codec)) {
		t.Helper()
		for _, codec := range []camsim.Codec{camsim.H264, camsim.H265} {
			check(t, codec)
		}
	}
	t.Run("on a stray channel", func(t *testing.T) {
		t.Parallel()
		for _, p := range watch(t, camsim.StrayChannels, camsim.H264, 500) {
			if p.channel != 200 {
				t.Fatalf("a packet on channel %d", p.channel)
			}
		}
	})
	t.Run("in tiny fragments, or one without end", func(t *testing.T) {
		t.Parallel()
		both(t, func(t *testing.T, codec camsim.Codec) {
			header, at := 2, 1 // of FU-A; and where its flags are
			if codec == camsim.H265 {
				header, at = 3, 2
			}
			for temper, sizes := range map[camsim.Temper][2]int{camsim.TinyFragments: {1, 1}, camsim.EndlessKeyFrame: {100, 1400}} {
				for i, p := range watch(t, temper, codec, 20_000) {
					starts, ends := p.payload[at]&0x80 != 0, p.payload[at]&0x40 != 0
					if size := len(p.payload) - header; starts != (i == 0) || ends || p.marker || int(p.sequence) != i || size < 1 || size > sizes[1] {
						t.Fatalf("%s, %s: packet %d: start %v, end %v, marker %v, number %d, %d bytes", temper, codec, i, starts, ends, p.marker, p.sequence, size)
					}
				}
			}
		})
	})
	t.Run("in aggregations of aggregations", func(t *testing.T) {
		t.Parallel()
		both(t, func(t *testing.T, codec camsim.Codec) {
			unit, depth := watch(t, camsim.NestedAggregation, codec, 1)[0].payload, 0
			header, key := []byte{0x78}, byte(0x65) // STAP-A, IDR slice
			if codec == camsim.H265 {
				header, key = []byte{96, 1}, 20<<1
			}
			for ; bytes.HasPrefix(unit, header); depth++ {
				size := int(binary.BigEndian.Uint16(unit[len(header):]))
				if unit = unit[len(header)+2:]; size != len(unit) {
					t.Fatalf("%s: at depth %d a size of %d for %d bytes", codec, depth, size, len(unit))
				}
			}
			if depth < 300 || unit[0] != key {
				t.Errorf("%s: %d deep, and in the middle %#x, want %#x", codec, depth, unit[0], key)
			}
		})
	})
	t.Run("with a gap in every key frame", func(t *testing.T) {
		t.Parallel()
		all, gaps := watch(t, camsim.GapsInKeyFrame, camsim.H264, 60), 0
		for i := 1; i < len(all); i++ {
			if missing := all[i].sequence - all[i-1].sequence - 1; missing > 0 {
				gaps++
				if all[i].payload[0]&0x1f != 28 || all[i].payload[1]&0x1f != 5 || missing != 1 {
					t.Errorf("%d packets are missing before % x, which is in no key frame", missing, all[i].payload[:2])
				}
			}
		}
		if gaps == 0 {
			t.Error("no gap")
		}
	})
	t.Run("with wild time stamps", func(t *testing.T) {
		t.Parallel()
		for temper, torn := range map[camsim.Temper]bool{camsim.JumpingTimestamps: false, camsim.TornTimestamps: true} {
			all := watch(t, temper, camsim.H264, 100)
			for i := 1; i < len(all); i++ {
				sameStamp, samePicture := all[i].stamp == all[i-1].stamp, !all[i-1].marker
				if samePicture && sameStamp == torn {
					t.Errorf("%s: two packets of a picture have the same time stamp: %v", temper, sameStamp)
				}
				if step := int32(all[i].stamp - all[i-1].stamp); !samePicture && !torn && step < 90_000 && step > -90_000 && all[i-1].stamp != 0 {
					t.Errorf("%s: from picture to picture only a step of %d", temper, step)
				}
				if all[i].sequence != all[i-1].sequence+1 {
					t.Errorf("%s: a packet is missing", temper)
				}
			}
		}
	})
}

func TestAFloodedClientIsStillHeard(t *testing.T) {
	t.Parallel()
	for _, temper := range []camsim.Temper{camsim.EndlessKeyFrame, camsim.NestedAggregation, camsim.StrayChannels, camsim.TinyFragments} {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			camera := start(t, camsim.Config{Temper: temper})
			client := dial(t, camera)
			client.watch()
			client.teardown()
			_ = client.conn.Close()
			eventually(t, camera, "nothing open, and the TEARDOWN heard", func(c camsim.Counts) bool {
				return c.Connections+c.Sessions == 0 && c.Teardowns == 1
			})
		})
	}
}

// No t.Parallel: it measures the memory of the process.
func TestFlood_heldBackNeedsNoMemory(t *testing.T) { //nolint:paralleltest // see above
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	var clients []*client
	for _, temper := range []camsim.Temper{camsim.HugeBody, camsim.EndlessHeaders, camsim.FloodBeforePlay, camsim.EndlessKeyFrame, camsim.StrayChannels} {
		client := dial(t, start(t, camsim.Config{Temper: temper}))
		client.options()
		clients = append(clients, client)
	}
	before, most := heap(), uint64(0)
	for i, client := range clients {
		ask := "DESCRIBE " + client.url
		if i >= 2 {
			client.describe()
			client.setup(200)
			ask = "PLAY " + client.url
		}
		_, _ = io.WriteString(client.conn, ask+" RTSP/1.0\r\nCSeq: 9\r\nSession: "+client.session+"\r\n\r\n")
	}
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		most = max(most, heap())
	}
	if grown := int64(most) - int64(before); grown > 16<<20 {
		t.Errorf("floods that nobody reads took %d MiB", grown>>20)
	}
}

func TestWhatFFmpegMakesOfEachHostileTemper(t *testing.T) {
	t.Parallel()
	const hangs = -1
	expected := map[camsim.Temper]struct {
		exit int
		says string
	}{
		camsim.EndlessHeaders:    {exit: hangs},
		camsim.EndlessSDP:        {exit: 1, says: "Invalid data found"},
		camsim.HugeBody:          {exit: hangs},
		camsim.DrippingBody:      {exit: hangs}, // the time-out of ffmpeg begins anew with each byte
		camsim.EndlessDigest:     {exit: 1, says: "401 Unauthorized"},
		camsim.FloodBeforePlay:   {exit: hangs},
		camsim.StrayChannels:     {exit: hangs},
		camsim.TinyFragments:     {exit: hangs}, // for a quarter of a minute of CPU; then the silence ends it
		camsim.NestedAggregation: {exit: hangs}, // and takes a gigabyte in four seconds
		camsim.EndlessKeyFrame:   {exit: hangs}, // likewise
		camsim.GapsInKeyFrame:    {exit: 0},     // a smeared picture, and not a word
		camsim.JumpingTimestamps: {exit: 0},
		camsim.TornTimestamps:    {exit: 0},
	}
	few := []camsim.Temper{camsim.EndlessDigest, camsim.GapsInKeyFrame, camsim.TornTimestamps}
	for _, temper := range testkit.Some(camsim.HostileTempers(), few...) {
		t.Run(string(temper), func(t *testing.T) {
			t.Parallel()
			want, known := expected[temper]
			if !known {
				t.Fatal("this temper has no line in the table")
			}
			camera := start(t, camsim.Config{Temper: temper, Username: "user", Password: "secret"})
			how := fair("tcp")
			if want.exit == hangs { // soon, for the memory some of them take
				how.patience, how.limit = time.Second, 2500*time.Millisecond
			}
			run := ffmpeg(t, camera.LoginURL(), how)
			if run.exit != want.exit || !strings.Contains(run.stderr, want.says) {
				t.Errorf("exit %d after %s: %s\nwant exit %d, %q", run.exit, run.took, run.stderr, want.exit, want.says)
			}
			eventually(t, camera, "nothing open", func(c camsim.Counts) bool { return c.Connections == 0 && c.Sessions == 0 })
		})
	}
}
