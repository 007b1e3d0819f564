package ffmpeg

import (
	"slices"

	"github.com/camwarden/camwarden/pkg/lazyre"
	"github.com/camwarden/camwarden/pkg/supervise"
)

var (
	corrupt = lazyre.New(`corrupt decoded frame`)
	refusal = lazyre.New(`method \S+ failed: \d`)
	noPlay  = lazyre.New(`method PLAY failed: (\d+)`)

	noConnection = lazyre.New(`\[tcp .*failed: |Failed to resolve hostname`)
)

// mayLinger says whether the camera may still hold a session of the child that is gone, because nobody told it
// TEARDOWN: then its slot must cool. Measured with ffmpeg 5.1:
//
//	ended                                     TEARDOWN
//	by itself, after SETUP was answered       sent, whatever the exit status (of ffmpeg 4 this is not known for PLAY)
//	by itself, while SETUP was unanswered     not sent: only FIN
//	by our TERM, once it was streaming        sent
//	by our TERM, earlier                      not sent: only FIN
//	by KILL                                   not sent
//
// When the camera itself closed the connection, or nothing came after DESCRIBE, there is no session to wait for.
func mayLinger(e evidence, ending supervise.Ending) bool {
	switch {
	case ending.PID == 0, e.ledAway() != nil: // elsewhere there may be a session, but that is no address of ours to cool
		return false
	case e.dialled && !e.described && !ending.StderrCut: // SETUP never went out
		return false
	}
	killed := ending.Signal == "KILL" || slices.Contains(ending.Sent, "KILL") || ending.Kind == supervise.Exited && ending.Signal != ""
	switch {
	case killed:
		return true
	case len(ending.Stderr) == 0: // it had not even begun to connect
		return false
	case ending.Kind != supervise.Exited: // by our TERM
		return !e.streaming
	case ending.Code == 0, e.opened, e.setUp && e.script:
		return false
	}
	if found := noPlay.Get().FindStringSubmatch(e.text); found != nil {
		return found[1] != "454" // "session not found"
	}
	if refusal.Get().MatchString(e.text) {
		return false // only the video track is set up, so a refused SETUP leaves none
	}
	return e.late() && (e.described || !e.dialled && !noConnection.Get().MatchString(e.text))
}
