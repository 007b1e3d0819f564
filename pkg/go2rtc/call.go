package go2rtc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// request is one call. All of go2rtc's parameters stand in the query.
type request struct {
	method string
	path   string // below the base path: "api/streams"
	query  url.Values
	limit  int64 // of the answer's body; 0 is maxAnswer
}

// answer is what came back.
type answer struct {
	status int
	kind   string // Content-Type
	body   []byte
	at     time.Time // when its beginning came
}

// call makes one call while no other is under way.
func (c *Client) call(ctx context.Context, r request) (answer, error) {
	done, err := c.turn(ctx)
	if err != nil {
		return answer{}, err
	}
	defer done()
	return c.bounded(ctx, r)
}

// turn waits until no other call is under way, here and (by the lock) on this host, nor one that was given up.
func (c *Client) turn(ctx context.Context) (done func(), err error) {
	done, err = c.alone(ctx)
	if err == nil && c.abandoned {
		if err = c.revive(ctx); err != nil {
			done()
		}
	}
	return done, err
}

func (c *Client) alone(ctx context.Context) (done func(), err error) {
	select {
	case c.gate <- struct{}{}:
	case <-ctx.Done():
		return nil, c.explain(ctx, ctx.Err())
	}
	if c.lock == nil {
		return func() { <-c.gate }, nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		<-c.gate
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, c.explain(ctx, err)
		}
		return nil, fault.From(err, fault.Busy, "")
	}
	return func() { unlock(); <-c.gate }, nil
}

// bounded makes a call within CallTimeout, and notes when the server was left with it.
func (c *Client) bounded(ctx context.Context, r request) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	var asked atomic.Bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { asked.Store(true) },
	})
	got, err := c.do(limited, r)
	if err != nil && limited.Err() != nil && asked.Load() {
		c.abandoned = true
	}
	return got, c.explain(ctx, err)
}

// revive asks for something that touches no stream, before the next call may overlap one that the server still works
// on: a server that was stopped, or out of memory, takes up all of them at the same moment when it goes on.
func (c *Client) revive(ctx context.Context) error {
	// Servers before 1.9.12 answer 404, which is as good.
	if _, err := c.bounded(ctx, request{method: http.MethodGet, path: "api/schemes"}); err != nil {
		return err
	}
	// It answers again; the call we gave up is then a matter of milliseconds.
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return c.explain(ctx, ctx.Err())
	}
	c.abandoned = false
	return nil
}

// do makes one call. Its errors are raw, and may quote the query: they go through explain.
func (c *Client) do(ctx context.Context, r request) (answer, error) {
	u := c.base
	u.Path += "/" + r.path
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", c.agent)
	if c.username != "" || c.password != "" {
		req.SetBasicAuth(c.username, c.password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got := answer{status: res.StatusCode, kind: res.Header.Get("Content-Type"), at: time.Now()}
	limit := r.limit
	if limit == 0 {
		limit = maxAnswer
	}
	got.body, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return answer{}, err
	}
	if int64(len(got.body)) > limit {
		return answer{}, tooBigError(limit)
	}
	return got, nil
}

// redirected lets a server lead to another of its own paths, and nowhere else: the query may hold a camera's password.
func (c *Client) redirected(next *http.Request, via []*http.Request) error {
	first := via[0]
	if next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host {
		return elsewhereError(next.URL.Host)
	}
	if next.Method != first.Method || len(via) > 3 {
		return errLost
	}
	return nil
}
