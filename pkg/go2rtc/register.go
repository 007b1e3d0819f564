package go2rtc

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// Source is a stream as we want it: a name, and the URL of its camera with the log-in in it.
type Source struct {
	Name string
	URL  string `json:"-"` // rtsp:// or rtsps://, its log-in percent-encoded, with a port

	// Making, if not nil, is called when the stream is not there and is about to be made; its error keeps it from that.
	Making func() error `json:"-"`
	// Testing, if not nil, is called when Flush has made the test picture its source: what still comes from the camera may
	// be broken off from now on.
	Testing func() `json:"-"`
}

// String returns the name alone.
func (s Source) String() string { return s.Name }

// GoString returns the name alone: the URL holds a password.
func (s Source) GoString() string { return "go2rtc.Source{" + s.Name + "}" }

// fragment ends every source we register. "#backchannel=0" halves connections, failed log-ins and waiting: without it
// go2rtc asks a refusing camera twice. The bare "%" makes the whole no URL for the check that otherwise would link the
// name to any stream that is called like the camera's path; what dials cuts at the first "#" and does not mind.
const fragment = "backchannel=0#%"

// Registered is what became of one source.
type Registered struct {
	Name    string
	Created bool // by this call; otherwise it was there already, with this camera as its source
	Err     error
}

// Register makes each name a stream of its camera, unless it is one already. One source is looked at by name, several by
// one list before and one after; there is one PATCH for each name that was missing, and none for others.
//
// A name whose PATCH was not answered may exist: whoever leased it looks again. A name that has another source is an
// error, and left alone, since it may be a link to somebody else's stream. The error says why nothing was tried.
func (c *Client) Register(ctx context.Context, sources ...Source) ([]Registered, error) {
	results := make([]Registered, len(sources))
	places := make([]*place, len(sources))
	var asked []string
	for i, s := range sources {
		results[i].Name = s.Name
		if places[i], results[i].Err = c.check(s); results[i].Err == nil {
			asked = append(asked, s.Name)
		}
	}
	if len(asked) == 0 {
		return results, nil
	}
	before, err := c.settled(ctx, asked)
	if err != nil {
		return nil, err
	}
	var made []string
	var broken error // the server is gone: the rest is not tried
	for i := range sources {
		r := &results[i]
		there, exists := before[r.Name]
		switch {
		case r.Err != nil:
		case exists:
			r.Err = c.alreadyThere(there, places[i])
		case broken != nil:
			r.Err = broken
		default:
			if sources[i].Making != nil {
				if r.Err = sources[i].Making(); r.Err != nil {
					continue
				}
			}
			var answered bool
			r.Created, answered, r.Err = c.patch(ctx, r.Name, sources[i].URL+"#"+fragment)
			if !answered {
				broken = r.Err
			}
			if r.Created {
				made = append(made, r.Name)
			}
		}
		if r.Err == nil && exists {
			c.setTested(r.Name, false)
		}
	}
	if len(made) > 0 {
		c.confirm(ctx, results, places, made)
	}
	return results, nil
}

// Renew gives a stream of ours its source again, for a log-in that has changed: go2rtc does not show which one it has. A
// connection that stands goes on with the old one. The name must be a stream of this camera already.
func (c *Client) Renew(ctx context.Context, source Source) error {
	at, err := c.check(source)
	if err != nil {
		return err
	}
	there, err := c.settled(ctx, []string{source.Name})
	if err != nil {
		return err
	}
	stream, exists := there[source.Name]
	if !exists {
		return c.fault("it has no stream %s", source.Name)
	}
	if err := c.alreadyThere(stream, at); err != nil {
		return err
	}
	_, _, err = c.patch(ctx, source.Name, source.URL+"#"+fragment)
	return err
}

// check reads a source, and refuses what go2rtc would read otherwise than we mean it.
func (c *Client) check(s Source) (*place, error) {
	if u, err := url.Parse(s.URL); err == nil && u.User != nil {
		// What we send comes back, in lists and in texts.
		password, _ := u.User.Password()
		c.secrets.Add(password)
	}
	at := placeOf(s.URL)
	switch {
	case !validName(s.Name):
		return nil, c.fault("%q cannot be the name of a stream", c.clean(s.Name)).
			WithHint("letters without accents, digits, dot, underscore and dash, at most 100")
	case at == nil || at.host == "" || !strings.HasPrefix(s.URL, "rtsp://") && !strings.HasPrefix(s.URL, "rtsps://"):
		return nil, c.fault("the source of %s is not an RTSP URL", s.Name)
	case strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, c.fault("the source of %s holds a blank, which go2rtc refuses", s.Name).WithHint("write it as %%20")
	case strings.Contains(s.URL, "#"):
		return nil, c.fault("the source of %s holds a #, where go2rtc's options begin", s.Name).WithHint("write it as %%23")
	case strings.Contains(s.URL, "{input}"):
		return nil, c.fault("the source of %s holds {input}, which go2rtc replaces", s.Name)
	}
	return at, nil
}

// validName reports whether a name survives go2rtc's queries, lists and YAML unchanged.
func validName(name string) bool {
	const longest = 100 // beyond 128 bytes go2rtc's YAML editor does not find its own entries again
	return name != "" && len(name) <= longest && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// alreadyThere is nil when the stream that has our name is of our camera.
func (c *Client) alreadyThere(s Stream, meant *place) error {
	if s.Unseen {
		return c.fault("the stream %s exists, and go2rtc does not tell its source", s.Name).WithHint("try again in a moment")
	}
	if s.sameSource(meant) {
		return nil
	}
	return c.fault("there is a stream %s already, with another source: %s", s.Name, s.source()).
		WithHint("is it yours? camwarden streams purge %s --force removes it", s.Name)
}

// sameSource reports whether the stream's first producer is the camera. Where go2rtc has masked too much to say so, our
// fragment says it: streams that others made do not end like this.
func (s Stream) sameSource(meant *place) bool {
	if len(s.Producers) == 0 {
		return false
	}
	switch p := s.Producers[0]; p.compare(meant) {
	case same:
		return true
	case unclear:
		return p.place().options == fragment
	default:
		return false
	}
}

func (s Stream) source() string {
	if len(s.Producers) == 0 {
		return "none"
	}
	return s.Producers[0].Source
}

// patch creates a stream, or sets the source of one. created is whether go2rtc said so, answered whether it spoke at all.
func (c *Client) patch(ctx context.Context, name, source string) (created, answered bool, err error) {
	got, err := c.call(ctx, request{method: http.MethodPatch, path: "api/streams", query: url.Values{"name": {name}, "src": {source}}})
	switch {
	case err != nil:
		return false, false, err
	case got.status == http.StatusOK:
		return true, true, nil
	case got.status == http.StatusBadRequest:
		said := c.clean(string(got.body))
		return false, true, c.fault("it refuses the stream %s: %s", name, strings.TrimPrefix(said, "streams: "))
	}
	return false, false, c.refusal(got)
}

// confirm reads back what was created. A name that shows another camera was linked to somebody's stream: to set its
// source again would change theirs, to delete the name removes the link alone.
func (c *Client) confirm(ctx context.Context, results []Registered, places []*place, made []string) {
	after, err := c.settled(ctx, made)
	for i := range results {
		r := &results[i]
		if !r.Created {
			continue
		}
		there, exists := after[r.Name]
		switch {
		case err != nil:
			r.Err = fault.From(err, fault.Go2rtc, "")
		case !exists:
			r.Created = false
			r.Err = c.fault("it accepted the stream %s and does not have it", r.Name).WithHint("is another program removing streams?")
		case there.Unseen:
			r.Err = c.alreadyThere(there, places[i])
		case !there.sameSource(places[i]):
			r.Err = c.unlink(ctx, there)
		default:
			c.setTested(r.Name, false)
		}
	}
}

func (c *Client) unlink(ctx context.Context, s Stream) error {
	f := c.fault("it linked %s to another stream, of %s, instead of creating it; the link is removed", s.Name, s.source()).
		WithHint("choose a stream_prefix that no camera has in its path")
	_, err := c.delete(ctx, s.Name)
	if err == nil {
		var still bool
		_, still, err = c.Get(ctx, s.Name)
		if err == nil && !still {
			return f
		}
	}
	f.Message = strings.TrimSuffix(f.Message, "; the link is removed") + ", and the link could not be removed"
	return f.WithHint("camwarden streams purge %s --force", s.Name)
}

// settled is look, a few times where an old server tells nothing of a stream because it was busy at that moment.
func (c *Client) settled(ctx context.Context, names []string) (map[string]Stream, error) {
	const times, pause = 5, 50 * time.Millisecond
	found, err := c.look(ctx, names)
	for range times {
		var unseen []string
		for name, s := range found {
			if s.Unseen {
				unseen = append(unseen, name)
			}
		}
		if err != nil || len(unseen) == 0 || !wait(ctx, pause) {
			break
		}
		var again map[string]Stream
		if again, err = c.look(ctx, unseen); err != nil {
			break
		}
		for _, name := range unseen {
			delete(found, name)
			if s, ok := again[name]; ok {
				found[name] = s
			}
		}
	}
	return found, err
}
