package go2rtc

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// settling is how long Remove waits for what is about to end by itself: go2rtc closes a camera within 20 ms after a
// picture, and within 100 ms after a player has left.
const settling = time.Second

// Removal is what became of one name.
type Removal struct {
	Name string
	Gone bool   // seen: go2rtc answers 404
	Why  string // it was kept, or is gone already
	Kept Judgement

	// Note is what go2rtc said about its configuration file, which it rewrites with every removal: "config file disabled"
	// where it has none, for one. The stream is gone all the same.
	Note string
	Err  error // it could not be removed, or that could not be seen
}

// Remove makes go2rtc forget the names, each only while it is idle: nobody is given it and nothing is connected. Others
// are kept, and it is said why. It does not ask whose the streams are: DELETE also takes a name out of go2rtc's
// configuration file, so give it none that this ledger does not hold, or the user did not name.
//
// A viewer that comes between the look and the removal is not cut, but watches a stream that has no name any more; this
// API has no way to exclude it. The error says why nothing was tried.
func (c *Client) Remove(ctx context.Context, runs Runs, names ...string) ([]Removal, error) {
	results := make([]Removal, len(names))
	for i, name := range names {
		results[i].Name = name
		if name == "" { // which go2rtc answers with a list and 200
			results[i].Err = c.fault("a stream without a name cannot be removed")
		}
	}
	states, err := c.settled(ctx, names)
	if err != nil {
		return nil, err
	}
	var asked []string
	var broken error // the server is gone: the rest is not tried
	until := time.Now().Add(settling)
	for i := range results {
		r := &results[i]
		switch {
		case r.Err != nil:
			continue
		case broken != nil:
			r.Err = broken
			continue
		}
		if c.idle(ctx, r, states, runs, until) {
			r.Note, r.Err = c.delete(ctx, r.Name)
			asked = append(asked, r.Name)
		}
		broken = r.Err
	}
	c.seeGone(ctx, results, asked)
	return results, nil
}

// idle reports whether a stream is to be removed. It gives what is about to end by itself until then.
func (c *Client) idle(ctx context.Context, r *Removal, states map[string]Stream, runs Runs, until time.Time) bool {
	s, exists := states[r.Name]
	for {
		if !exists {
			r.Gone, r.Why = true, "it was gone already"
			return false
		}
		if s.Idle() {
			return true
		}
		r.Kept = Judge(s, runs, time.Now())
		if r.Kept.Watched() || time.Now().After(until) || !wait(ctx, 50*time.Millisecond) {
			r.Why = s.whyKept(r.Kept)
			return false
		}
		if s, exists, r.Err = c.Get(ctx, r.Name); r.Err != nil {
			return false
		}
	}
}

func (s Stream) whyKept(j Judgement) string {
	if words := j.Words(); words != "" {
		return words
	}
	for _, p := range s.Producers {
		if p.Connected() {
			return "still connected to " + p.Source
		}
	}
	return "not idle"
}

// delete asks go2rtc to forget a name. note is what it says of its configuration file.
func (c *Client) delete(ctx context.Context, name string) (note string, err error) {
	got, err := c.call(ctx, request{method: http.MethodDelete, path: "api/streams", query: url.Values{"src": {name}}})
	switch {
	case err != nil:
		return "", err
	case got.status == http.StatusOK:
		return "", nil
	case got.status == http.StatusBadRequest:
		return c.clean(string(got.body)), nil
	}
	return "", c.refusal(got)
}

// seeGone looks whether what was removed is gone, whatever go2rtc said to it.
func (c *Client) seeGone(ctx context.Context, results []Removal, asked []string) {
	if len(asked) == 0 {
		return
	}
	left, err := c.look(ctx, asked)
	for i := range results {
		r := &results[i]
		if r.Gone || r.Why != "" || !slices.Contains(asked, r.Name) {
			continue
		}
		_, still := left[r.Name]
		switch {
		case err != nil:
			if r.Err == nil {
				r.Err = err
			}
		case !still:
			r.Gone, r.Err = true, nil
			c.setTested(r.Name, false)
		case r.Err == nil:
			f := c.fault("it still has the stream %s after removing it", r.Name)
			if r.Note != "" {
				f = c.fault("it still has the stream %s after removing it, and said: %s", r.Name, r.Note)
			}
			r.Err = f.WithHint("is another program registering it?")
		}
	}
}
