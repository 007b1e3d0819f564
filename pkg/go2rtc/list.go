package go2rtc

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Info is what a server says of itself.
type Info struct {
	Version    string
	ConfigPath string // of its configuration file, on its host; empty when it has none
	RTSPListen string // "127.0.0.1:8554", ":8554"; empty when it does not serve RTSP
}

// NoHandOver says why the server's own ffmpeg cannot hand it a picture, which it does at the port of rtsp.listen on 127.0.0.1;
// empty: nothing says that it cannot.
func (i Info) NoHandOver() string {
	if i.RTSPListen == "" {
		return "rtsp.listen is empty"
	}
	host, _, err := net.SplitHostPort(i.RTSPListen)
	if err != nil || slices.Contains([]string{"", "0.0.0.0", "::", "127.0.0.1", "localhost"}, host) {
		return ""
	}
	return "rtsp.listen is " + i.RTSPListen + " and not at 127.0.0.1"
}

// Info asks the server what it is, once for this Client: two such calls at a time end the whole server.
func (c *Client) Info(ctx context.Context) (Info, error) {
	c.mu.Lock()
	known := c.info
	c.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	got, err := c.call(ctx, request{method: http.MethodGet, path: "api"})
	if err != nil {
		return Info{}, err
	}
	if got.status != http.StatusOK {
		return Info{}, c.refusal(got)
	}
	var said struct {
		Version    any `json:"version"`
		ConfigPath any `json:"config_path"`
		RTSP       struct {
			Listen any `json:"listen"`
		} `json:"rtsp"`
	}
	if err := json.Unmarshal(got.body, &said); err != nil {
		return Info{}, c.garbage("what it is")
	}
	text := func(v any) string {
		s, _ := v.(string)
		return c.clean(s)
	}
	info := Info{Version: text(said.Version), ConfigPath: text(said.ConfigPath), RTSPListen: text(said.RTSP.Listen)}
	if info.Version == "" {
		return Info{}, c.garbage("what it is")
	}
	c.mu.Lock()
	c.info = &info
	c.mu.Unlock()
	return info, nil
}

// List returns all streams, sorted by name. A name that holds a secret of go2rtc's configuration is listed masked, so a
// name that is missing may exist all the same: Get tells.
func (c *Client) List(ctx context.Context) ([]Stream, error) {
	got, err := c.call(ctx, request{method: http.MethodGet, path: "api/streams", limit: maxList})
	if err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		return nil, c.refusal(got)
	}
	list, err := decodeList(got.body, c.secrets)
	if err != nil {
		return nil, c.garbage("its streams")
	}
	return list, nil
}

// Get returns the stream of a name, and whether there is one. It never makes go2rtc dial.
func (c *Client) Get(ctx context.Context, name string) (Stream, bool, error) {
	if name == "" { // would be the list
		return Stream{}, false, nil
	}
	got, err := c.call(ctx, request{method: http.MethodGet, path: "api/streams", query: url.Values{"src": {name}}})
	switch {
	case err != nil:
		return Stream{}, false, err
	case got.status == http.StatusNotFound && strings.TrimSpace(string(got.body)) == "":
		return Stream{}, false, nil
	case got.status != http.StatusOK:
		return Stream{}, false, c.refusal(got)
	case !json.Valid(got.body):
		return Stream{}, false, c.garbage("the stream " + name)
	}
	s := decodeStream(name, got.body, c.secrets)
	s.Masked = s.Name != name // a mask in the name that was asked for is the real one
	return s, true, nil
}

// look returns those of the named streams that exist, by as few calls as possible.
func (c *Client) look(ctx context.Context, names []string) (map[string]Stream, error) {
	found := map[string]Stream{}
	doubtful := names
	if len(names) > 1 {
		list, err := c.List(ctx)
		if err != nil {
			return nil, err
		}
		doubtful = missing(list, names, found)
	}
	for _, name := range doubtful {
		s, ok, err := c.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if ok {
			found[name] = s
		}
	}
	return found, nil
}

// missing puts the named streams of a list into found, and returns the names that may be among the masked ones.
func missing(list []Stream, names []string, found map[string]Stream) (doubtful []string) {
	var masked []string
	known := map[string]Stream{}
	for _, s := range list {
		if s.Masked {
			masked = append(masked, s.Name)
		} else {
			known[s.Name] = s
		}
	}
	for _, name := range names {
		if s, ok := known[name]; ok {
			found[name] = s
			continue
		}
		for _, mask := range masked {
			if masks(mask, name) {
				doubtful = append(doubtful, name)
				break
			}
		}
	}
	return doubtful
}

func (c *Client) garbage(what string) error {
	return c.fault("it was asked for %s and answered something else", what).WithHint("is this the API of go2rtc?")
}
