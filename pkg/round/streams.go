package round

import "github.com/camwarden/camwarden/pkg/capture"

// streamer is a source that registers streams somewhere.
type streamer interface {
	Streams() capture.StreamTally
}

// countStreams takes into the report what the sources did with streams.
func (r *runner) countStreams() {
	for _, source := range r.chain.Sources() {
		if s, ok := source.(streamer); ok {
			tally := s.Streams()
			r.report.Streams.Registered += tally.Registered
			r.report.Streams.Removed += tally.Removed
		}
	}
}
