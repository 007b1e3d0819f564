package observe

import (
	"context"

	"github.com/camwarden/camwarden/pkg/go2rtc"
)

// readServer asks the configured go2rtc for its version and its streams: two calls, which change nothing and dial nothing.
func (s *surveyor) readServer(ctx context.Context) {
	client := s.terms.Go2rtc
	if client == nil {
		return
	}
	s.Go2rtc = &Server{URL: client.Where(), Prefix: s.terms.Prefix, Streams: []go2rtc.Stream{}}
	info, err := client.Info(ctx)
	if err == nil {
		s.Go2rtc.Version = info.Version
		s.Go2rtc.Streams, err = client.List(ctx)
	}
	if err != nil {
		s.Go2rtc.Why = err.Error()
		s.Go2rtc.Streams = []go2rtc.Stream{}
		s.Blind = append(s.Blind, Blind{Where: "go2rtc", Why: err.Error()})
	}
}
