package go2rtc

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/camwarden/camwarden/pkg/redact"
)

var errNotStreams = errors.New("not an object of streams")

// decodeList reads the list of all streams. Two streams may come under one name, since go2rtc masks what tells them
// apart; both are kept. The result is sorted by name.
func decodeList(body []byte, secrets *redact.Redactor) ([]Stream, error) {
	in := json.NewDecoder(bytes.NewReader(body))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, errNotStreams
	}
	list := []Stream{}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errNotStreams
		}
		var one json.RawMessage
		if err := in.Decode(&one); err != nil {
			return nil, err
		}
		list = append(list, decodeStream(name, one, secrets))
	}
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b Stream) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// decodeStream reads one stream. What it cannot read is shown as unseen or as unknown, never as nothing.
func decodeStream(name string, raw json.RawMessage, secrets *redact.Redactor) Stream {
	// By looks alone: a camera whose password is "gate" must not hide the stream of that name, but one named by its URL is.
	const longest = 4 << 10 // go2rtc takes names of any length, and redacting takes its time
	s := Stream{Name: calm(redact.String(name[:min(len(name), longest)]))}
	s.Masked = s.Name != name || strings.Contains(name, redact.Mask)
	var parts map[string]json.RawMessage
	if json.Unmarshal(raw, &parts) != nil || parts == nil {
		s.Unseen = true
		return s
	}
	producers, ok := elements(parts["producers"])
	consumers, also := elements(parts["consumers"])
	s.Unseen = !ok || !also
	for _, raw := range producers {
		s.Producers = append(s.Producers, decodeProducer(raw, secrets))
	}
	for _, raw := range consumers {
		s.Consumers = append(s.Consumers, decodeConsumer(raw, secrets))
	}
	return s
}

// elements splits a list; null and nothing are an empty one.
func elements(raw json.RawMessage) (list []json.RawMessage, ok bool) {
	if raw == nil {
		return nil, true
	}
	return list, json.Unmarshal(raw, &list) == nil
}

func decodeProducer(raw json.RawMessage, secrets *redact.Redactor) Producer {
	f, ok := fieldsOf(raw, secrets)
	if !ok {
		return Producer{Format: unreadable}
	}
	source := f.raw("url")
	return Producer{
		Source: f.shown(source), ID: f.id(), Format: f.format(), Protocol: f.text("protocol"), RemoteAddr: f.text("remote_addr"),
		BytesRecv: max(f.number("bytes_recv"), f.number("recv")), Codec: f.codec("receivers"), at: placeOf(source),
	}
}

func decodeConsumer(raw json.RawMessage, secrets *redact.Redactor) Consumer {
	f, ok := fieldsOf(raw, secrets)
	if !ok {
		return Consumer{Format: unreadable}
	}
	return Consumer{
		ID: f.id(), Format: f.format(), Protocol: f.text("protocol"), RemoteAddr: f.text("remote_addr"),
		UserAgent: f.text("user_agent"), Source: f.text("source"), Codec: f.codec("senders"),
	}
}

// unreadable stands for the format of what is not an object: it counts as connected, and as a viewer.
const unreadable = "unreadable"

// fields are those of one producer or consumer. Each field is read by itself, so that an odd one costs no other.
type fields struct {
	values  map[string]json.RawMessage
	secrets *redact.Redactor
}

func fieldsOf(raw json.RawMessage, secrets *redact.Redactor) (fields, bool) {
	f := fields{secrets: secrets}
	return f, json.Unmarshal(raw, &f.values) == nil && f.values != nil
}

func (f fields) raw(name string) string {
	var text string
	if json.Unmarshal(f.values[name], &text) != nil {
		return ""
	}
	return text
}

func (f fields) text(name string) string { return f.shown(f.raw(name)) }

// shown makes text of the server's, or of whoever speaks to it, fit for a terminal. Secrets go first.
func (f fields) shown(text string) string {
	const longest = 300
	if len(text) > 4*longest {
		text = f.secrets.Cut(text[:4*longest]) + "..."
	} else {
		text = f.secrets.String(text)
	}
	text = calm(text)
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

// calm keeps a text that others choose from speaking to the terminal. A stream that is named so is masked.
func calm(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, text)
}

func (f fields) number(name string) int64 {
	var n float64 // an integer may come as 1e6 from whoever stands between
	if json.Unmarshal(f.values[name], &n) != nil || !(n > 0 && n < 1<<62) {
		return 0
	}
	return int64(n)
}

func (f fields) id() uint64 { return uint64(f.number("id")) }

// format is format_name, or the type of servers before 1.9.4.
func (f fields) format() string {
	if name := f.text("format_name"); name != "" {
		return name
	}
	return f.text("type")
}

// codec is that of the first video among the tracks.
func (f fields) codec(tracks string) string {
	list, _ := elements(f.values[tracks])
	for _, raw := range list {
		var track struct {
			Codec struct {
				Name string `json:"codec_name"`
				Kind string `json:"codec_type"`
			} `json:"codec"`
		}
		if json.Unmarshal(raw, &track) == nil {
			if track.Codec.Kind == "video" {
				return f.shown(track.Codec.Name)
			}
			continue
		}
		// Before 1.9.4 a track is a line: "96 H264/90000, bytes=8147, senders=1".
		var line string
		if json.Unmarshal(raw, &line) == nil {
			for _, name := range [][2]string{{"H264", "h264"}, {"H265", "h265"}, {"JPEG", "mjpeg"}} {
				if strings.Contains(line, name[0]) {
					return name[1]
				}
			}
		}
	}
	return ""
}
