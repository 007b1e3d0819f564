package commands

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/sweep"
)

// progress draws how far a round is on stderr, and keeps silent where nobody looks.
type progress struct {
	bar *progressbar.ProgressBar
	c   *cli
}

// newProgress returns a progress that draws only when stderr is a terminal and nobody asked for quiet or for JSON lines.
func (c *cli) newProgress() *progress {
	p := &progress{c: c}
	if !c.world.Terminal.Stderr || c.flags.quiet || c.flags.logFormat == logJSON {
		return p
	}
	// The bar writes to stderr itself, not through the voice: the voice wipes the bar before it speaks.
	p.bar = progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(c.world.Stderr),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false),
	)
	c.voice.wipe(func() { _ = p.bar.Clear() })
	return p
}

// tell takes in what happened.
func (p *progress) tell(e round.Event) {
	if e.Phase == round.Visited && e.Visit != nil {
		p.logVisit(*e.Visit)
	}
	if e.Message != "" {
		p.c.log.Info(e.Message)
	}
	if p.bar == nil {
		return
	}
	switch e.Phase {
	case round.Visiting, round.Visited:
		p.bar.ChangeMax(e.Total)
		p.bar.Describe(fmt.Sprintf("%d of %s", e.Done, sweep.Count(e.Total, "camera")))
		_ = p.bar.Set(e.Done)
	default:
		p.bar.Describe(string(e.Phase))
	}
}

func (p *progress) logVisit(v round.Visit) {
	if v.Error == nil {
		p.c.log.Debug("visited", "camera", v.Camera, "source", v.Source, "duration_ms", v.DurationMS)
		return
	}
	p.c.log.Debug("visited", "camera", v.Camera, "class", v.Error.Class, "step", v.Error.Step, "error", v.Error.Message)
}

// stop wipes what was drawn.
func (p *progress) stop() {
	if p.bar == nil {
		return
	}
	p.c.voice.wipe(nil)
	_ = p.bar.Clear()
	_ = p.bar.Exit()
}
