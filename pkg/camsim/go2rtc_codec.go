package camsim

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"
)

// codecInfo is how a camera codes its video, as its description says. The zero value is none.
type codecInfo struct {
	name    string // "H264"
	short   string // "h264"
	profile string
	level   int
	kind    uint8    // payload type
	lines   []string // of the description: rtpmap and fmtp
}

func (c codecInfo) syntax() syntax {
	return map[string]syntax{"H264": syntaxH264, "H265": syntaxH265, "JPEG": syntaxJPEG}[c.name]
}

// readSDP returns the first video of a description, and its control attribute.
func readSDP(sdp string) (codec codecInfo, control string) {
	video := false
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if fields := strings.Fields(line); strings.HasPrefix(line, "m=") {
			if video {
				break
			}
			if video = strings.HasPrefix(line, "m=video ") && len(fields) > 3; video {
				number, _ := strconv.Atoi(fields[3])
				codec.kind = uint8(number)
				if number == 26 { // RFC 3551 section 6
					codec.name, codec.short = "JPEG", "mjpeg"
				}
			}
			continue
		}
		switch {
		case !video:
		case strings.HasPrefix(line, "a=control:"):
			control = strings.TrimPrefix(line, "a=control:")
		case strings.HasPrefix(line, "a=rtpmap:"):
			codec.lines = append(codec.lines, line)
			_, coded, _ := strings.Cut(line, " ")
			coded, _, _ = strings.Cut(strings.ToUpper(coded), "/")
			codec.name = coded
			codec.short = map[string]string{"H265": "hevc", "JPEG": "mjpeg"}[coded]
			if codec.short == "" {
				codec.short = strings.ToLower(coded)
			}
		case strings.HasPrefix(line, "a=fmtp:"):
			codec.lines = append(codec.lines, line)
			codec.readProfile(line)
		}
	}
	return codec, control
}

// readProfile reads profile-level-id (RFC 6184 section 8.1).
func (c *codecInfo) readProfile(line string) {
	_, id, found := strings.Cut(line, "profile-level-id=")
	id, _, _ = strings.Cut(id, ";")
	raw, err := hex.DecodeString(strings.TrimSpace(id))
	if !found || err != nil || len(raw) != 3 {
		return
	}
	c.profile = map[byte]string{66: "Baseline", 77: "Main", 100: "High"}[raw[0]]
	c.level = int(raw[2])
}

// unpacker puts key frames together from packets.
type unpacker struct {
	syntax     syntax
	decode     func(*rtp.Packet) ([][]byte, error)
	stamp      uint32 // of the picture that is coming
	aggregated bool   // part of it came in an aggregation packet of H265, which go2rtc does not read
}

func newUnpacker(codec codecInfo) *unpacker {
	u := &unpacker{syntax: codec.syntax()}
	switch u.syntax {
	case syntaxH264:
		decoder := &rtph264.Decoder{PacketizationMode: 1}
		if decoder.Init() == nil {
			u.decode = decoder.Decode
		}
	case syntaxH265:
		decoder := &rtph265.Decoder{}
		if decoder.Init() == nil {
			u.decode = decoder.Decode
		}
	case syntaxJPEG:
		decoder := &rtpmjpeg.Decoder{}
		if decoder.Init() == nil {
			u.decode = func(packet *rtp.Packet) ([][]byte, error) {
				file, err := decoder.Decode(packet)
				return [][]byte{file}, err
			}
		}
	}
	return u
}

// keyFrame returns the first slice of a key frame, or a whole JPEG, when the packet completes one. aggregated is set
// for one that has lost its parameter sets on the way: the real one drops aggregation packets (RFC 7798 section 4.4.2).
func (u *unpacker) keyFrame(raw []byte) []byte {
	var packet rtp.Packet
	if u.decode == nil || packet.Unmarshal(raw) != nil {
		return nil
	}
	if packet.Timestamp != u.stamp {
		u.stamp, u.aggregated = packet.Timestamp, false
	}
	const aggregation = 48
	if u.syntax == syntaxH265 && len(packet.Payload) > 2 && u.syntax.kind(packet.Payload) == aggregation {
		u.aggregated = true
	}
	units, err := u.decode(&packet)
	if err != nil {
		return nil
	}
	for _, unit := range units {
		if len(unit) > 2 && (u.syntax == syntaxJPEG || u.syntax.isKey(u.syntax.kind(unit))) {
			return unit
		}
	}
	return nil
}

// films are the embedded ones, read when they are needed.
type films struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]int // the first slices of key frames, and which picture they show
	read  map[syntax]bool
}

// white is the picture of the calm clips: no camera's.
const white = -1

// picture returns which of the four pictures a key frame of a camera shows, when it is of an embedded film.
func (f *films) picture(s syntax, slice []byte) (number int, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.read[s] {
		if f.read == nil {
			f.read, f.known = map[syntax]bool{}, map[[sha256.Size]byte]int{}
		}
		f.read[s] = true
		for _, codec := range Codecs() {
			if film, err := loadFilm(codec); err == nil && codec.syntax() == s {
				for picture, loop := range film.loops {
					f.known[sha256.Sum256(loop[0].units[0])] = picture
				}
				if film.calm != nil {
					f.known[sha256.Sum256(film.calm[0].units[0])] = white
				}
			}
		}
	}
	number, known = f.known[sha256.Sum256(slice)]
	return number, known
}

// openVirtual starts what stands for ffmpeg and its test picture: it hands it over to go2rtc's RTSP port at 127.0.0.1.
func (l *life) openVirtual(source, query, fragment string) (*upstream, error) {
	codec := H264
	for _, option := range strings.Split(fragment, "#") {
		if name, ok := strings.CutPrefix(option, "video="); ok {
			codec = Codec(name)
		}
	}
	reach := l.config.RTSP.Addr()
	switch {
	case l.config.NoFFmpeg:
		return nil, errNoFFmpeg
	case l.config.NoRTSP, reach.Is4() && reach.As4() != [4]byte{127, 0, 0, 1} && !reach.IsUnspecified():
		return nil, errNoHandover
	}
	film, err := loadFilm(codec)
	if err != nil {
		return nil, err
	}
	if !l.wait(l.config.Patience / 20) { // until ffmpeg has started: 250 ms
		return nil, errDead
	}
	shown, _, _ := strings.Cut(source, "#")
	up := &upstream{life: l, id: l.ids.Add(1), shown: shown, path: "virtual?" + query, virtual: film}
	if description, err := film.description(SetsEverywhere).Marshal(); err == nil {
		up.sdp = string(description)
		up.codec, _ = readSDP(up.sdp)
	}
	return up, nil
}

// playVirtual sends the test picture until nobody needs it.
func (up *upstream) playVirtual(video *track) {
	packets, err := up.virtual.packetizer(SetsInSDP)
	if err != nil || up.deaf || video == nil {
		return
	}
	key := up.virtual.loops[0][0]
	for n := 0; len(video.given()) > 0; n++ {
		for _, packet := range packets.pack(key, 10*n) {
			if raw, err := packet.Marshal(); err == nil {
				up.bytes.Add(int64(len(raw)))
				video.write(raw, up)
			}
		}
		if !up.life.wait(min(up.life.config.Patience/5, time.Second)) {
			return
		}
	}
}
