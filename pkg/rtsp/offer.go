package rtsp

import (
	"bytes"
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
	tracks  []track
}

// track is one format of one media line.
type track struct {
	media    string
	control  string
	payload  uint8
	encoding string
	codec    depacketize.Codec // "" for what we cannot use
	sets     [][]byte
}

func (t track) format() depacketize.Format {
	return depacketize.Format{Payload: t.payload, Codec: t.codec, Sets: t.sets}
}

// section is a media line with its attributes, before its formats are told apart.
type section struct {
	media, control string
	formats        []string
	names          map[string]string // rtpmap by format
	parameters     map[string]string // fmtp by format
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

// video returns the first track a key frame can be fetched of, in one of the codecs if any are named: of the best rank that there is.
func (o offer) video(codecs ...depacketize.Codec) (track, bool) {
	var best track
	for _, t := range o.tracks {
		fits := t.codec != "" && (len(codecs) == 0 || slices.Contains(codecs, t.codec))
		if fits && (best.codec == "" || rank(t.codec) < rank(best.codec)) {
			best = t
		}
	}
	return best, best.codec != ""
}

func parseOffer(sdp []byte) offer {
	var o offer
	var sections []*section
	for line := range bytes.Lines(sdp) {
		kind, value, ok := strings.Cut(string(bytes.TrimSpace(line)), "=")
		if !ok {
			continue
		}
		switch {
		case kind == "m":
			if len(sections) == maxTracks {
				return o.with(sections)
			}
			if s := newSection(value); s != nil {
				sections = append(sections, s)
			}
		case kind == "a" && len(sections) > 0:
			sections[len(sections)-1].attribute(value)
		case kind == "a":
			if control, ok := strings.CutPrefix(value, "control:"); ok {
				o.control = strings.TrimSpace(control)
			}
		}
	}
	return o.with(sections)
}

func (o offer) with(sections []*section) offer {
	for _, s := range sections {
		for _, format := range s.formats[:min(len(s.formats), maxTracks)] {
			o.tracks = append(o.tracks, s.track(format))
		}
	}
	return o
}

// newSection parses "video 0 RTP/AVP 96 97".
func newSection(line string) *section {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return nil
	}
	return &section{
		media:      strings.ToLower(fields[0]),
		formats:    fields[3:],
		names:      map[string]string{},
		parameters: map[string]string{},
	}
}

func (s *section) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	rest = strings.TrimSpace(rest)
	format, text, _ := strings.Cut(rest, " ")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "control":
		s.control = rest
	case "rtpmap":
		s.names[format] = text
	case "fmtp":
		s.parameters[format] = text
	}
}

func (s *section) track(format string) track {
	t := track{media: s.media, control: s.control, encoding: format}
	payload, err := strconv.ParseUint(format, 10, 7)
	if name, _, _ := strings.Cut(s.names[format], "/"); name != "" {
		t.encoding = strings.ToUpper(strings.TrimSpace(name))
	}
	if err != nil || s.media != "video" {
		return t
	}
	t.payload = uint8(payload)
	parameters := parseParameters(s.parameters[format])
	const staticJPEG = 26 // RFC 3551 section 6
	switch {
	case t.encoding == "H264" && parameters["packetization-mode"] != "2": // 2 is interleaved: nobody sends it
		t.codec, t.sets = depacketize.H264, decodeSets(parameters["sprop-parameter-sets"])
	case (t.encoding == "H265" || t.encoding == "HEVC") && strings.Trim(parameters["sprop-max-don-diff"], "0") == "":
		t.codec, t.sets = depacketize.H265, decodeSets(parameters["sprop-vps"], parameters["sprop-sps"], parameters["sprop-pps"])
	case t.encoding == "JPEG", t.payload == staticJPEG && s.names[format] == "":
		t.codec = depacketize.JPEG
	default:
		t.codec, t.sets = encoded(t.encoding, t.payload, s.names[format] != "", parameters)
	}
	return t
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
