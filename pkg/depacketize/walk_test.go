package depacketize_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/depacketize"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// walkFilm is a film that is sent through every fault of packets.
type walkFilm struct {
	name          string
	codec         depacketize.Codec
	width, height int
	raw           []byte
	units         [][][]byte // access units of NAL units; of MJPEG: files
	frames        func() [][]byte
	judged        map[string]string // what became of pictures, by their bytes
}

var walkFilms = sync.OnceValues(func() ([]*walkFilm, error) {
	const width, height = 320, 176
	source := []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=10:duration=3,noise=alls=8:allf=t", width, height)}
	var films []*walkFilm
	for _, f := range []struct {
		name  string
		codec depacketize.Codec
		args  []string
	}{
		{"H.264", depacketize.H264, []string{"-c:v", "libx264", "-x264-params", "keyint=10:bframes=0:slices=1"}},
		{"H.264, four slices", depacketize.H264, []string{"-c:v", "libx264", "-x264-params", "keyint=10:bframes=2:slices=4"}},
		{"H.264, open GOP", depacketize.H264, []string{"-c:v", "libx264", "-x264-params", "keyint=10:bframes=2:open-gop=1:slices=2"}},
		{"H.264, intra refresh", depacketize.H264, []string{"-c:v", "libx264", "-x264-params", "keyint=10:intra-refresh=1:bframes=0"}},
		{"H.265", depacketize.H265, []string{"-c:v", "libx265", "-x265-params", "keyint=10:bframes=0:open-gop=0:log-level=none"}},
		{"H.265, slices, CRA", depacketize.H265, []string{"-c:v", "libx265", "-x265-params", "keyint=10:bframes=2:open-gop=1:slices=2:log-level=none"}},
		{"MJPEG", depacketize.JPEG, []string{"-c:v", "mjpeg", "-huffman", "default", "-q:v", "4", "-pix_fmt", "yuvj420p"}},
	} {
		muxer := map[depacketize.Codec]string{depacketize.H264: "h264", depacketize.H265: "hevc", depacketize.JPEG: "mjpeg"}[f.codec]
		args := slices.Concat([]string{"-v", "error", "-threads", "1"}, source, f.args, []string{"-f", muxer, "pipe:1"})
		if f.codec != depacketize.JPEG {
			args = slices.Insert(args, len(args)-3, "-pix_fmt", "yuv420p")
		}
		raw, err := exec.Command("ffmpeg", args...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		films = append(films, newWalkFilm(f.name, f.codec, width, height, raw))
	}
	fields, err := os.ReadFile(filepath.Join("..", "rtsp", "testdata", "paff.264"))
	if err != nil {
		return nil, err
	}
	return append(films, newWalkFilm("H.264, field pairs", depacketize.H264, 640, 352, fields[:64<<10])), nil
})

func newWalkFilm(name string, codec depacketize.Codec, width, height int, raw []byte) *walkFilm {
	f := &walkFilm{name: name, codec: codec, width: width, height: height, raw: raw, judged: map[string]string{}}
	if codec == depacketize.JPEG {
		for _, part := range bytes.SplitAfter(raw, []byte{0xff, 0xd9}) {
			if len(part) > 100 {
				f.units = append(f.units, [][]byte{part})
			}
		}
	} else {
		sliced := true
		for part := range bytes.SplitSeq(raw, []byte{0, 0, 1}) {
			nal := bytes.TrimRight(part, "\x00")
			if len(nal) == 0 {
				continue
			}
			is, first := f.slice(nal)
			if sliced && (!is || first) {
				f.units, sliced = append(f.units, nil), false
			}
			f.units[len(f.units)-1] = append(f.units[len(f.units)-1], nal)
			sliced = sliced || is
		}
		f.units = f.units[:len(f.units)-1] // the last may be cut off
	}
	f.frames = sync.OnceValue(func() [][]byte { luma, _ := f.decode(raw, 0); return luma })
	return f
}

// slice reports whether a NAL unit is a slice, and whether it is the first of its picture.
func (f *walkFilm) slice(nal []byte) (is, first bool) {
	if f.codec == depacketize.H264 {
		kind := nal[0] & 0x1f
		return kind >= 1 && kind <= 5, nal[1]&0x80 != 0
	}
	return nal[0]>>1 < 32, nal[2]&0x80 != 0
}

// decode returns the luma of all pictures, and whether ffmpeg complained of one that is damaged.
func (f *walkFilm) decode(raw []byte, only int) (luma [][]byte, said string) {
	muxer := map[depacketize.Codec]string{depacketize.H264: "h264", depacketize.H265: "hevc", depacketize.JPEG: "mjpeg"}[f.codec]
	args := []string{"-nostdin", "-nostats", "-hide_banner", "-loglevel", "level+warning", "-threads", "1", "-nofind_stream_info", "-f", muxer, "-i", "pipe:0", "-map", "0:v", "-vsync", "0"}
	if only > 1 {
		args = append(args, "-vf", fmt.Sprintf(`select=eq(n\,%d)`, only-1))
	}
	cmd := exec.Command("ffmpeg", append(args, "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")...)
	cmd.Stdin = bytes.NewReader(raw)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, _ := cmd.Output()
	for size := f.width * f.height; len(out) >= size; out = out[size:] {
		luma = append(luma, out[:size])
	}
	return luma, complaints.String()
}

// walkPacket is one RTP packet on its way.
type walkPacket struct {
	payload []byte
	marker  bool
	stamp   uint32
	nal     int  // which of its access unit
	first   bool // of its NAL unit
	last    bool
}

// packets cuts an access unit.
func (f *walkFilm) packets(unit [][]byte, mtu int, stamp uint32) []walkPacket {
	var out []walkPacket
	if f.codec == depacketize.JPEG {
		return f.scanPackets(unit[0], mtu, stamp)
	}
	for i, nal := range unit {
		if len(nal) <= mtu {
			out = append(out, walkPacket{payload: bytes.Clone(nal), stamp: stamp, nal: i, first: true, last: true})
			continue
		}
		head := []byte{nal[0]&0xe0 | 28, nal[0] & 0x1f}
		body := nal[1:]
		if f.codec == depacketize.H265 {
			head, body = []byte{nal[0]&0x81 | 49<<1, nal[1], nal[0] >> 1 & 0x3f}, nal[2:]
		}
		for at := 0; at < len(body); at += mtu {
			end := min(at+mtu, len(body))
			payload := append(bytes.Clone(head), body[at:end]...)
			if at == 0 {
				payload[len(head)-1] |= 0x80
			}
			if end == len(body) {
				payload[len(head)-1] |= 0x40
			}
			out = append(out, walkPacket{payload: payload, stamp: stamp, nal: i, first: at == 0, last: end == len(body)})
		}
	}
	out[len(out)-1].marker = true
	return out
}

func (f *walkFilm) scanPackets(file []byte, mtu int, stamp uint32) []walkPacket {
	var tables []byte
	at := 2
	for file[at+1] != 0xda {
		size := int(binary.BigEndian.Uint16(file[at+2:]))
		if file[at+1] == 0xdb {
			for body := file[at+4 : at+2+size]; len(body) >= 65; body = body[65:] {
				tables = append(tables, body[1:65]...)
			}
		}
		at += 2 + size
	}
	scan := file[at+2+int(binary.BigEndian.Uint16(file[at+2:])):]
	var out []walkPacket
	for at := 0; at < len(scan); at += mtu {
		end := min(at+mtu, len(scan))
		payload := []byte{0, byte(at >> 16), byte(at >> 8), byte(at), 1, 255, byte(f.width / 8), byte(f.height / 8)}
		if at == 0 {
			payload = append(append(payload, 0, 0, byte(len(tables)>>8), byte(len(tables))), tables...)
		}
		out = append(out, walkPacket{payload: append(payload, scan[at:end]...), stamp: stamp, last: end == len(scan)})
	}
	out[len(out)-1].marker = true
	return out
}

// walk sends a film through faults that the seed draws, and returns what came of it.
func (f *walkFilm) walk(t testing.TB, seed uint64) (frame *depacketize.KeyFrame, faults []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 13))
	receiver, err := depacketize.NewReceiver(depacketize.Format{Payload: 96, Codec: f.codec}, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	mtu := []int{150, 400, 1400}[r.IntN(3)]
	marks := []string{"right", "right", "each NAL unit", "each packet", "never", "first packet", "each slice"}[r.IntN(7)]
	stamps := []string{"right", "right", "each NAL unit", "all zero"}[r.IntN(4)]
	rate := []float64{0, 0.01, 0.05, 0.2}[r.IntN(4)]
	faults = append(faults, fmt.Sprintf("mtu %d, markers %s, stamps %s, faults %.2f", mtu, marks, stamps, rate))
	number := uint16(r.IntN(1 << 16))
	var held []byte // a packet that comes later than it should
	send := func(raw []byte) bool {
		if receiver.KeyFrame() == nil {
			if err := receiver.Take(raw); err != nil {
				faults = append(faults, err.Error())
				return false
			}
		}
		return receiver.KeyFrame() == nil
	}
	first := r.IntN(len(f.units))
	for n := range 2 * len(f.units) {
		unit := f.units[(first+n)%len(f.units)]
		packets := f.packets(unit, mtu, uint32(9000*n))
		for i := 0; i < len(packets); i++ {
			p := packets[i]
			switch marks {
			case "each NAL unit":
				p.marker = p.last
			case "each packet":
				p.marker = true
			case "never":
				p.marker = false
			case "first packet":
				p.marker = i == 0
			case "each slice":
				if f.codec != depacketize.JPEG {
					is, _ := f.slice(unit[p.nal])
					p.marker = is && p.last
				}
			}
			switch stamps {
			case "each NAL unit":
				p.stamp += uint32(p.nal)
			case "all zero":
				p.stamp = 0
			}
			number++
			if r.Float64() < rate {
				kind := r.IntN(9)
				faults = append(faults, fmt.Sprintf("picture %d, packet %d of %d: fault %d", n, i, len(packets), kind))
				switch kind {
				case 0: // lost
					continue
				case 1: // lost before it was numbered: of a fragmented NAL unit that is a start or an end that never comes
					if f.codec == depacketize.JPEG || p.first != p.last {
						number--
						continue
					}
				case 2: // later
					if held == nil {
						held = rtpOf(p, number)
						continue
					}
				case 3: // twice
					if !send(rtpOf(p, number)) {
						return receiver.KeyFrame(), faults
					}
				case 4:
					p.marker = !p.marker
				case 5:
					p.stamp += uint32(r.IntN(3) * 90)
				case 6: // a fragment, or a slice, whose end is zeros: no stop bit
					for j := len(p.payload) / 2; j < len(p.payload); j++ {
						p.payload[j] = 0
					}
					if f.codec == depacketize.JPEG || !p.last || len(p.payload) < 40 {
						continue // only of the last is it a trace, else it is lost
					}
				case 7: // an aggregation of which a size is wrong
					if f.codec != depacketize.JPEG && len(unit[p.nal]) <= mtu {
						head := []byte{24}
						if f.codec == depacketize.H265 {
							head = []byte{48 << 1, 1}
						}
						head = binary.BigEndian.AppendUint16(head, uint16(len(p.payload)+1+r.IntN(40)))
						p.payload = append(head, p.payload...)
					}
				case 8: // shorter than it says
					if raw := rtpOf(p, number); !send(raw[:4+r.IntN(8)]) {
						return receiver.KeyFrame(), faults
					}
					continue
				}
			}
			if !send(rtpOf(p, number)) {
				return receiver.KeyFrame(), faults
			}
			if held != nil && r.IntN(2) == 0 {
				if !send(held) {
					return receiver.KeyFrame(), faults
				}
				held = nil
			}
		}
	}
	if _, waiting := receiver.Waiting(); waiting {
		receiver.Settle()
	}
	return receiver.KeyFrame(), faults
}

func rtpOf(p walkPacket, number uint16) []byte {
	raw := []byte{0x80, 96, byte(number >> 8), byte(number), 0, 0, 0, 0, 1, 2, 3, 4}
	if p.marker {
		raw[1] |= 0x80
	}
	binary.BigEndian.PutUint32(raw[4:], p.stamp)
	return append(raw, p.payload...)
}

// judge demands that a picture is one of the encoder's. What it has seen before it does not decode again.
func (f *walkFilm) judge(frame *depacketize.KeyFrame) (why string) {
	key := string(frame.Bytes)
	why, known := f.judged[key]
	if !known {
		why = f.compare(frame)
		f.judged[key] = why
	}
	return why
}

func (f *walkFilm) compare(frame *depacketize.KeyFrame) string {
	only := 0
	if f.codec == depacketize.H265 {
		only = frame.Pictures
	}
	got, said := f.decode(frame.Bytes, only)
	if strings.Contains(said, "corrupt decoded frame") || len(got) == 0 {
		return "" // ffmpeg refuses it, and so do we
	}
	best := 0.0
	for _, want := range f.frames() {
		best = max(best, lumaPSNR(got[0], want))
	}
	if best < 35 {
		return fmt.Sprintf("PSNR %.1f dB to the nearest of the encoder's pictures", best)
	}
	return ""
}

func lumaPSNR(a, b []byte) float64 {
	var sum int
	for i := range a {
		d := int(a[i]) - int(b[i])
		sum += d * d
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(255*255*float64(len(a))/float64(sum))
}

// walks makes them until more says that it is enough.
func walks(t *testing.T, more func(n uint64) bool) {
	t.Helper()
	films, err := walkFilms()
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]int{}
	n := uint64(0)
	for ; more(n); n++ {
		film := films[n%uint64(len(films))]
		frame, faults := film.walk(t, n)
		if frame == nil {
			continue
		}
		given[film.name]++
		if why := film.judge(frame); why != "" {
			t.Errorf("%s, walk %d: %s\n%q", film.name, n, why, faults[:min(len(faults), 12)])
		}
	}
	distinct := 0
	for _, film := range films {
		distinct += len(film.judged)
	}
	t.Logf("%d walks, key frames %v, %d different ones", n, given, distinct)
	for _, film := range films {
		if given[film.name] == 0 {
			t.Errorf("%s gave no picture in %d walks, so it shows nothing", film.name, n)
		}
	}
}

// No still is ok whose picture is not the encoder's, whatever became of the packets.
func TestWalk_noBrokenPicture(t *testing.T) {
	t.Parallel()
	most := uint64(50)
	if testkit.IsLong() {
		most = 1000
	}
	walks(t, func(n uint64) bool { return n < most })
}

func TestSoakWalk_noBrokenPicture(t *testing.T) {
	testkit.Soak(t, "takes an hour")
	end := time.Now().Add(time.Hour)
	if deadline, limited := t.Deadline(); limited && deadline.Add(-time.Minute).Before(end) {
		end = deadline.Add(-time.Minute)
	}
	walks(t, func(uint64) bool { return time.Now().Before(end) })
}
