package camsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
)

// This file is how streams are shown, before 1.9.4 and since.

type shownStream struct {
	Producers []any `json:"producers"`
	Consumers []any `json:"consumers"` // null before the first, [] after the last
}

type shownConnection struct {
	ID         uint32       `json:"id,omitempty"`
	FormatName string       `json:"format_name,omitempty"`
	Type       string       `json:"type,omitempty"` // up to 1.9.3
	Protocol   string       `json:"protocol,omitempty"`
	RemoteAddr string       `json:"remote_addr,omitempty"`
	Source     string       `json:"source,omitempty"`
	URL        string       `json:"url,omitempty"`
	SDP        string       `json:"sdp,omitempty"`
	UserAgent  string       `json:"user_agent,omitempty"`
	Medias     []string     `json:"medias,omitempty"`
	Receivers  []shownTrack `json:"receivers,omitempty"`
	Senders    []shownTrack `json:"senders,omitempty"`
	BytesRecv  int64        `json:"bytes_recv,omitempty"`
	BytesSend  int64        `json:"bytes_send,omitempty"`
	Recv       int64        `json:"recv,omitempty"` // up to 1.9.3
	Send       int64        `json:"send,omitempty"`
}

type shownTrack struct {
	ID      uint32     `json:"id,omitempty"`
	Codec   shownCodec `json:"codec"`
	Parent  uint32     `json:"parent,omitempty"`
	Childs  []uint32   `json:"childs,omitempty"`
	Bytes   int64      `json:"bytes,omitempty"`
	Packets int64      `json:"packets,omitempty"`
}

type shownCodec struct {
	Name    string `json:"codec_name"`
	Type    string `json:"codec_type"`
	Level   int    `json:"level,omitempty"`
	Profile string `json:"profile,omitempty"`
}

func (c codecInfo) shown() shownCodec { return shownCodec{c.short, "video", c.level, c.profile} }

// json returns what is shown of a stream. It never waits for a dial; one under way looks like an idle source.
func (r *relay) json(old bool) any {
	if old && r.pending.Load() > 0 {
		return nil // "json locked"
	}
	shown := shownStream{Producers: []any{}}
	for _, p := range r.sources {
		shown.Producers = append(shown.Producers, p.json(old))
	}
	consumers, ever := r.consumers()
	if ever {
		shown.Consumers = []any{}
	}
	for _, c := range consumers {
		shown.Consumers = append(shown.Consumers, c.json(old))
	}
	return shown
}

func (p *producer) json(old bool) any {
	up := p.shown.Load()
	if up == nil {
		return shownConnection{URL: *p.source.Load()}
	}
	shown := shownConnection{
		RemoteAddr: up.remote(), URL: up.shown, SDP: up.sdp, UserAgent: up.life.agent(), Medias: []string{"video, recvonly, " + up.codec.name},
	}
	if up.virtual != nil {
		shown.Source, shown.UserAgent = "exec:ffmpeg -hide_banner -v error -re -f lavfi -i testsrc2", "ffmpeg/go2rtc"
	}
	if old {
		shown.Type, shown.Recv = "RTSP active producer", up.bytes.Load()
		if up.url != nil {
			shown.URL = up.url.String() // what the camera calls it, without a log-in
		}
	} else {
		shown.ID, shown.FormatName, shown.Protocol, shown.BytesRecv = up.id, "rtsp", "rtsp+tcp", up.bytes.Load()
	}
	if video := p.tracks.Load(); video != nil {
		one := shownTrack{Codec: video.codec.shown(), Bytes: video.bytes.Load(), Packets: video.packets.Load()}
		if !old {
			one.ID = video.id
			for _, s := range video.given() {
				one.Childs = append(one.Childs, s.id)
			}
		}
		shown.Receivers = []shownTrack{one}
	}
	return shown
}

func (c *consumer) json(old bool) any {
	shown := shownConnection{RemoteAddr: c.remote, UserAgent: c.agent, Source: c.source, SDP: c.sdp, Medias: c.medias}
	if old {
		shown.Type, shown.Send = c.kind, c.sent.Load()
	} else {
		shown.ID, shown.FormatName, shown.Protocol, shown.BytesSend = c.id, c.format, c.protocol, c.sent.Load()
	}
	if s := c.track.Load(); s != nil {
		one := shownTrack{Codec: s.parent.codec.shown(), Bytes: s.bytes.Load(), Packets: s.packets.Load()}
		if !old {
			one.ID, one.Parent = s.id, s.parent.id
		}
		shown.Senders = []shownTrack{one}
	}
	return shown
}

// answer writes streams. Log-ins are masked in the finished text, which misses those that JSON has escaped, and some others.
func (l *life) answer(w http.ResponseWriter, value any, pretty bool) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	if pretty {
		encoder.SetIndent("", "  ")
	}
	if encoder.Encode(value) != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	body := text.Bytes()
	if !l.config.Old && !l.config.Unmasked {
		body = maskedLogin().ReplaceAll(body, []byte("://***@"))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func maskedLogin() *regexp.Regexp {
	return regexp.MustCompile(`://[!$%'()*+,\-.0-9:;=?A-Z\]^_a-z{|}~\x60]+@`)
}

// masked does the same for one text.
func masked(text string) string { return maskedLogin().ReplaceAllString(text, "://***@") }
