package rtsp

import (
	"context"

	"github.com/camwarden/camwarden/pkg/depacketize"
)

// Stream is the video track of a camera that has granted us a session and waits for PLAY. It is for one goroutine.
type Stream struct{ talk *talk }

// Open is the first half of Fetch: it connects, logs in at most once, and sets the video track up. The Stream is never nil,
// and must be closed also when there is an error. Its errors are those of Fetch.
func Open(ctx context.Context, target Target, limits Limits) (*Stream, error) {
	t, err := begin(ctx, target, limits, nil)
	if err == nil {
		err = t.explain(t.open())
	}
	return &Stream{t}, err
}

// Codec is what the video is coded in.
func (s *Stream) Codec() depacketize.Codec { return s.talk.codec }

// KeyFrame plays until one clean key frame is whole.
func (s *Stream) KeyFrame() (depacketize.KeyFrame, error) {
	frame, err := s.talk.await()
	return frame, s.talk.explain(err)
}

// Close tears the session down, closes the connection, and says what is left. Further calls only say it again.
func (s *Stream) Close() Session {
	s.talk.end()
	return s.talk.session
}
