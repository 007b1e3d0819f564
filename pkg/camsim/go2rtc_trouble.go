package camsim

import (
	"bytes"
	"net/http"
	"time"
)

// Go2rtcTrouble is what ails a server that is up.
type Go2rtcTrouble string

// The troubles. Each but TroubleSlow keeps calls from being done; counted they are all the same.
const (
	NoTrouble      Go2rtcTrouble = ""
	TroubleSlow    Go2rtcTrouble = "slow"    // every call takes Delay longer, during which it is under way: one that is sent meanwhile may be deadly
	TroubleMute    Go2rtcTrouble = "mute"    // connections are accepted and nothing is ever answered, as by a process that was stopped
	TroubleHangsUp Go2rtcTrouble = "hang-up" // connections are closed without an answer
	TroubleCutOff  Go2rtcTrouble = "cut-off" // every answer ends in its middle
	TroubleGarbage Go2rtcTrouble = "garbage" // 200, and random bytes for JSON
	TroubleHuge    Go2rtcTrouble = "huge"    // 200, and 10 MiB of JSON that is no list of streams
	TroubleNoHTTP  Go2rtcTrouble = "no-http" // random bytes instead of HTTP
)

// Go2rtcTroubles returns every trouble there is.
func Go2rtcTroubles() []Go2rtcTrouble {
	return []Go2rtcTrouble{TroubleSlow, TroubleMute, TroubleHangsUp, TroubleCutOff, TroubleGarbage, TroubleHuge, TroubleNoHTTP}
}

// HugeAnswer is how many bytes TroubleHuge answers.
const HugeAnswer = 10 << 20

type trouble struct {
	kind  Go2rtcTrouble
	delay time.Duration
}

// SetTrouble makes the server ail from the next call on, until NoTrouble is set. The delay is for TroubleSlow.
func (g *Go2rtc) SetTrouble(kind Go2rtcTrouble, delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trouble = trouble{kind, delay}
}

func (g *Go2rtc) present() trouble {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.trouble
}

// troubled answers a call as the trouble has it, and reports whether that is all.
func (l *life) troubled(w http.ResponseWriter) bool {
	ails := l.g.present()
	switch ails.kind {
	case TroubleMute:
		<-l.ctx.Done()
	case TroubleHangsUp:
		panic(http.ErrAbortHandler)
	case TroubleCutOff:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"theirs":{"producers":[{"url":"rtsp://`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case TroubleGarbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(garbage(1))
	case TroubleHuge:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"a":"`))
		piece := bytes.Repeat([]byte("x"), 1<<16)
		for sent := 0; sent < HugeAnswer; sent += len(piece) {
			if _, err := w.Write(piece); err != nil {
				break
			}
		}
		_, _ = w.Write([]byte(`"}`))
	case TroubleNoHTTP:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = conn.Write(garbage(1))
			_ = conn.Close()
		}
	default:
		return false
	}
	return true
}

// delay is what a slow server adds to a call.
func (l *life) delay() time.Duration {
	if ails := l.g.present(); ails.kind == TroubleSlow {
		return ails.delay
	}
	return 0
}
