package rtsp

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

// maxTracks is how many tracks of a description are looked at.
const maxTracks = 32

// offer is what a description of a stream (SDP, RFC 8866) says that matters for one picture. Lines that do not matter
// are not judged: cameras get audio, bandwidth and session lines wrong in every way there is.
type offer struct {
	control string // of the session: its presentation URL, or "*"
	session string // its name, as "s=..."
	tracks  []track
}

// track is one format of one media line.
type track struct {
	media    string
	control  string
	payload  uint8
	encoding string
	codec    depacketize.Codec // "" for what we cannot use
	guessed  bool              // nothing names the codec
	sets     [][]byte

	width, height int // in pixels; 0: not said
}

func (t track) format() depacketize.Format {
	return depacketize.Format{Payload: t.payload, Codec: t.codec, Sets: t.sets, Width: t.width, Height: t.height}
}

// section is a media line with its attributes, before its formats are told apart.
type section struct {
	media, control string
	formats        []string
	named          []string          // formats in the order in which attributes name them
	names          map[string]string // rtpmap by format
	parameters     map[string]string // fmtp by format
	sizes          map[string]string // framesize by format; "": that of all
}

// String names what is offered, as the camera wrote it.
func (o offer) String() string {
	var names []string
	for _, track := range o.tracks {
		if name := track.media + " " + track.encoding; !slices.Contains(names, name) && len(names) < 8 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// video returns the first track a key frame can be fetched of, in one of the codecs if any are named: of the best rank that there
// is. One whose codec is only guessed comes last.
func (o offer) video(codecs ...depacketize.Codec) (track, bool) {
	var best track
	for _, t := range o.tracks {
		fits := t.codec != "" && (len(codecs) == 0 || slices.Contains(codecs, t.codec))
		if fits && (best.codec == "" || best.guessed && !t.guessed || best.guessed == t.guessed && rank(t.codec) < rank(best.codec)) {
			best = t
		}
	}
	return best, best.codec != ""
}

func parseOffer(sdp []byte) offer {
	var o offer
	var sections []*section
	session := newSection("session")
	for line := range bytes.FieldsFuncSeq(sdp, func(r rune) bool { return r == '\r' || r == '\n' }) {
		kind, value, ok := strings.Cut(string(bytes.TrimSpace(line)), "=")
		if !ok {
			continue
		}
		switch {
		case kind == "s" && o.session == "":
			o.session = "s=" + value
		case kind == "m":
			if len(sections) == maxTracks {
				return o.with(sections, session)
			}
			sections = append(sections, newSection(value))
		case kind == "a" && len(sections) > 0:
			sections[len(sections)-1].attribute(value)
		case kind == "a":
			session.attribute(value)
			o.control = session.control
		}
	}
	return o.with(sections, session)
}

// with adds the tracks of the sections. What a section does not say of its formats, the session may.
func (o offer) with(sections []*section, session *section) offer {
	for _, s := range sections {
		formats := s.formats
		if len(formats) == 0 && s.media == "video" {
			formats = slices.Concat(s.named, session.named)
		}
		for _, format := range formats[:min(len(formats), maxTracks)] {
			if s.names[format] == "" {
				s.names[format] = session.names[format]
			}
			if s.parameters[format] == "" {
				s.parameters[format] = session.parameters[format]
			}
			o.tracks = append(o.tracks, s.track(format))
		}
	}
	return o
}

// newSection parses "video 0 RTP/AVP 96 97", of which the end may be missing.
func newSection(line string) *section {
	s := &section{names: map[string]string{}, parameters: map[string]string{}, sizes: map[string]string{}}
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return s
	}
	s.media = strings.ToLower(fields[0])
	for i, field := range fields[1:] {
		if _, err := strconv.ParseUint(field, 10, 7); i > 1 || i == 1 && err == nil { // the protocol may be missing too
			s.formats = append(s.formats, field)
		}
	}
	return s
}

func (s *section) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	rest = strings.TrimSpace(rest)
	format, text := rest, ""
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		format, text = rest[:i], strings.TrimSpace(rest[i:])
	}
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "framesize": // 3GPP TS 26.234, 5.3.3.2: "26 2560-1440"
		s.sizes[format] = text
	case "x-dimensions": // "2560,1440"
		s.sizes[""] = rest
	case "control":
		s.control = rest
		return
	case "rtpmap":
		s.names[format] = text
	case "fmtp":
		s.parameters[format] = text
	default:
		return
	}
	if !slices.Contains(s.named, format) && len(s.named) < maxTracks {
		s.named = append(s.named, format)
	}
}

func (s *section) track(format string) track {
	t := track{media: s.media, control: s.control, encoding: format}
	t.width, t.height = parseSize(cmp.Or(s.sizes[format], s.sizes[""]))
	payload, err := strconv.ParseUint(format, 10, 7)
	if name, _, _ := strings.Cut(s.names[format], "/"); name != "" {
		t.encoding = strings.ToUpper(strings.TrimSpace(name))
	}
	if err != nil || s.media != "video" {
		return t
	}
	t.payload = uint8(payload)
	parameters := parseParameters(s.parameters[format])
	encoding := t.encoding
	if s.names[format] == "" {
		encoding, t.guessed = guess(t.payload, parameters)
	}
	switch encoding {
	case "H264", "H.264", "AVC":
		if parameters["packetization-mode"] != "2" { // interleaved: nobody sends it
			t.codec, t.sets = depacketize.H264, decodeSets(parameters["sprop-parameter-sets"])
		}
	case "H265", "H.265", "HEVC":
		if strings.Trim(parameters["sprop-max-don-diff"], "0") == "" {
			t.codec, t.sets = depacketize.H265, decodeSets(parameters["sprop-vps"], parameters["sprop-sps"], parameters["sprop-pps"])
		}
	case "JPEG", "MJPEG":
		t.codec = depacketize.JPEG
	default:
		t.codec, t.sets = encoded(encoding, t.payload, s.names[format] != "", parameters)
	}
	return t
}

// guess names the encoding of a format that no rtpmap names: by its number (RFC 3551 section 6), its parameters, or else by what
// nearly all of the dynamic ones are. certain is false where it may be another one.
func guess(payload uint8, parameters map[string]string) (encoding string, guessed bool) {
	const staticJPEG, firstDynamic = 26, 96
	_, sps265 := parameters["sprop-sps"]
	_, vps := parameters["sprop-vps"]
	switch {
	case payload == staticJPEG:
		return "JPEG", false
	case payload < firstDynamic: // others know more of these
		return "", false
	case sps265 || vps:
		return "H265", true
	}
	return "H264", true
}

// parseSize parses "2560-1440" or "2560,1440".
func parseSize(text string) (width, height int) {
	w, h, _ := strings.Cut(strings.ReplaceAll(text, ",", "-"), "-")
	width, err := strconv.Atoi(strings.TrimSpace(w))
	height, also := strconv.Atoi(strings.TrimSpace(h))
	if err != nil || also != nil {
		return 0, 0
	}
	return width, height
}

// parseParameters parses "packetization-mode=1; sprop-parameter-sets=Z0I=,aM4=".
func parseParameters(text string) map[string]string {
	parameters := map[string]string{}
	for field := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(field, "=")
		parameters[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return parameters
}

// decodeSets decodes comma-separated base64. What cannot be decoded is left out: the stream may still bring it.
func decodeSets(texts ...string) [][]byte {
	var sets [][]byte
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ",") {
			set, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(one), "="))
			if err == nil && len(set) > 0 {
				sets = append(sets, set)
			}
		}
	}
	return sets
}
