package go2rtc

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"strings"
	"time"
)

// FlushTimeout is how long Flush waits when its context has no deadline. A camera that says nothing is dialled again
// every 5 s, and then ffmpeg has to start.
const FlushTimeout = 8 * time.Second

// Flushed is what became of one stream.
type Flushed struct {
	Name     string
	Done     bool   // seen: nobody is given the stream and nothing is connected
	Restored bool   // its source is the camera again; otherwise remove it
	Why      string // it was not flushed, or is not done, and what ends it
	Err      error
}

// Flush ends pictures that nobody waits for any more, and that hold a camera or make go2rtc dial it again for ever. It
// sets the stream's source to a test picture of the same codec: when go2rtc next dials, the stuck ones get a key frame
// and end. It needs ffmpeg where go2rtc runs, which hands the picture over to go2rtc's RTSP port at 127.0.0.1. A source with
// a URL gets it back; one without is for Remove.
//
// A stream that somebody else is given is not flushed, since he would see the test picture, nor one that this Client takes
// a picture of. Frame gives no picture of a stream from here on until it has its source back. The caller sees to it that
// the streams are ours, and that no other living run has a lease on them.
func (c *Client) Flush(ctx context.Context, runs Runs, sources ...Source) ([]Flushed, error) {
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, FlushTimeout)
		defer cancel()
	}
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.Name
	}
	states, err := c.settled(ctx, names)
	if err != nil {
		return nil, err
	}
	results := make([]Flushed, len(sources))
	stuck := map[int]Stream{} // as they were when the test picture was set
	why := ""
	if len(states) > 0 {
		why = c.impossible(ctx)
	}
	for i, s := range sources {
		results[i].Name = s.Name
		there, exists := states[s.Name]
		if !exists {
			results[i].Done = true
			continue
		}
		if c.startFlush(ctx, &results[i], s, there, runs, why) {
			stuck[i] = there
			if s.Testing != nil {
				s.Testing()
			}
		}
	}
	for len(stuck) > 0 && wait(ctx, 250*time.Millisecond) {
		for i := range stuck {
			if c.flushed(ctx, &results[i], sources[i], states) {
				delete(stuck, i)
			}
		}
	}
	for i, before := range stuck {
		if results[i].Why = stillSending(before, states[results[i].Name]); results[i].Why == "" {
			results[i].Why = notYet
		}
	}
	return results, nil
}

// notYet says what may keep the test picture from coming, and what ends it then.
const notYet = "go2rtc has not dialled again yet, or has no ffmpeg; the next flush may see it, or restart go2rtc"

// impossible says why no flush can succeed here; empty: nothing says so.
func (c *Client) impossible(ctx context.Context) string {
	info, err := c.Info(ctx)
	if why := info.NoHandOver(); err == nil && why != "" {
		return "go2rtc's ffmpeg cannot hand over the test picture, because " + why + ": restart go2rtc, or set rtsp.listen to :8554"
	}
	return ""
}

// startFlush sets the test picture, where that harms nobody.
func (c *Client) startFlush(ctx context.Context, r *Flushed, s Source, there Stream, runs Runs, impossible string) bool {
	var meant *place
	if s.URL != "" {
		if meant, r.Err = c.check(s); r.Err != nil {
			return false
		}
	}
	j := Judge(there, runs, time.Now())
	switch {
	case meant != nil && !there.sameSource(meant) && !there.virtual():
		r.Err = c.alreadyThere(there, meant)
		return false
	case len(there.Consumers) == 0 && !there.Unseen && !there.virtual():
		r.Done = there.Idle()
		r.Restored = r.Done
		if !r.Done {
			r.Why = there.whyKept(j)
		}
		return false
	}
	if why := notToFlush(j, runs); why != "" {
		r.Why = why
		return false
	}
	if impossible != "" {
		r.Why = impossible // a test picture that never comes would only keep the camera from whoever comes next
		return false
	}
	if !c.setTested(s.Name, true) {
		r.Why = "a picture of it is being taken"
		return false
	}
	if there.virtual() {
		return true // an earlier flush did not see its end
	}
	var answered bool
	_, answered, r.Err = c.patch(ctx, s.Name, testSource(there))
	if r.Err != nil && answered {
		c.setTested(s.Name, false) // refused
	}
	return r.Err == nil
}

// notToFlush says who would see the test picture.
func notToFlush(j Judgement, runs Runs) string {
	if j.Watched() {
		return j.Words()
	}
	for _, c := range j.Ours {
		if run, _ := RunOf(c.UserAgent); run != runs.Mine {
			return "another run takes a picture of it: " + c.Who()
		}
	}
	for _, c := range j.Harmless {
		if strings.EqualFold(c.Format, "preload") {
			return "go2rtc preloads it, so it never ends; remove the preload"
		}
	}
	return ""
}

const virtualScheme = "ffmpeg:virtual?"

// virtual reports whether a stream's source is our test picture. Its place is no URL.
func (s Stream) virtual() bool {
	return len(s.Producers) > 0 && strings.HasPrefix(s.Producers[0].Source, virtualScheme)
}

// testSource is a test picture in the codec that the stuck ones were promised.
func testSource(s Stream) string {
	codec := ""
	for _, consumer := range s.Consumers {
		if codec == "" && consumer.picture() {
			codec = consumer.Codec
		}
	}
	for _, p := range s.Producers {
		if codec == "" {
			codec = p.Codec
		}
	}
	switch strings.ToLower(codec) {
	case "hevc", "h265":
		codec = "h265"
	case "mjpeg", "jpeg":
		codec = "mjpeg"
	default:
		codec = "h264"
	}
	// go2rtc names the place where its ffmpeg hands over a picture by a hash of the command line: of several that are the
	// same at a time all but one fail ("Broken pipe"), and are started again every second. So no two look the same.
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(s.Name))
	width, height := 320+2*(sum.Sum32()%128), 240+2*(sum.Sum32()/128%128)
	return fmt.Sprintf("%svideo&size=%dx%d#video=%s", virtualScheme, width, height, codec)
}

// flushed looks at a stream whose source is the test picture. It reports whether there is nothing more to wait for.
func (c *Client) flushed(ctx context.Context, r *Flushed, s Source, states map[string]Stream) bool {
	now, exists, err := c.Get(ctx, s.Name)
	switch {
	case ctx.Err() != nil: // our time is over, which says nothing of the server
		return false
	case err != nil:
		r.Err = err
		return true
	case !exists:
		r.Done = true
		return true
	case !now.Idle():
		states[s.Name] = now
		return false
	}
	r.Done = true
	if s.URL == "" {
		return true
	}
	if _, _, r.Err = c.patch(ctx, s.Name, s.URL+"#"+fragment); r.Err != nil {
		return true
	}
	// Somebody may have come in between, and be given the test picture: then it is not restored, and Frame stays closed.
	now, exists, r.Err = c.Get(ctx, s.Name)
	if r.Err == nil && exists && now.sameSource(placeOf(s.URL)) {
		r.Restored = true
		c.setTested(s.Name, false)
	}
	return true
}

// stillSending says what ends what the flush could not: a camera that goes on sending is not dialled again.
func stillSending(before, now Stream) string {
	for _, old := range before.Producers {
		for _, p := range now.Producers {
			if old.ID != p.ID || old.RemoteAddr != p.RemoteAddr || p.BytesRecv <= old.BytesRecv {
				continue
			}
			const why = "the camera goes on sending without a key frame, so go2rtc does not dial again; "
			address, _, _ := strings.Cut(p.RemoteAddr, " ")
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return why + "restart go2rtc"
			}
			return why + "as root, where go2rtc runs: ss -K dst " + host + " dport = " + port + ", and flush again; or restart go2rtc"
		}
	}
	return ""
}
