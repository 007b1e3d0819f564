package go2rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StuckAfter is how long the same picture may be under way until its consumer counts as stuck. It normally ends with the
// next key frame.
const StuckAfter = 30 * time.Second

// Runs tells our consumers from those of others, by the run that their User-Agent names.
type Runs struct {
	Mine   string   // this run
	Living []string // others that a living lease of this ledger names
	Dead   []string // those that only leases without an owner name
	Seen   Sightings
}

// Sightings are when each consumer was first seen. They can be kept from run to run: a key names one consumer of one
// life of the server.
type Sightings map[string]time.Time

// Note returns the sightings after another look at streams. What has gone is forgotten.
func (s Sightings) Note(streams []Stream, now time.Time) Sightings {
	noted := Sightings{}
	for _, stream := range streams {
		for _, consumer := range stream.Consumers {
			key := sightingKey(stream.Name, consumer)
			first, known := s[key]
			if !known || first.After(now) {
				first = now
			}
			noted[key] = first
		}
	}
	return noted
}

func sightingKey(stream string, c Consumer) string {
	return strings.Join([]string{stream, strconv.FormatUint(c.ID, 10), c.Format, c.RemoteAddr, c.UserAgent}, "\x00")
}

// since returns how long the consumer has been seen.
func (s Sightings) since(stream string, c Consumer, now time.Time) time.Duration {
	first, known := s[sightingKey(stream, c)]
	if !known {
		return 0
	}
	return now.Sub(first)
}

// Judgement sorts the consumers of one stream.
type Judgement struct {
	Viewers  []Consumer // whoever is not known to be one of the others
	Ours     []Consumer // of this run, or of another that lives
	Stuck    []Consumer // a picture nobody waits for any more
	Harmless []Consumer // nobody who watches: preload, probes, an ffmpeg of go2rtc's that runs for ours
	Unseen   bool       // go2rtc did not say who there is
}

// Judge tells who of a stream's consumers is a viewer.
func Judge(stream Stream, runs Runs, now time.Time) Judgement {
	j := Judgement{Unseen: stream.Unseen}
	var internal []Consumer
	for _, c := range stream.Consumers {
		run, camwarden := RunOf(c.UserAgent)
		format := strings.ToLower(c.Format)
		switch {
		case camwarden && (run == runs.Mine || slices.Contains(runs.Living, run)):
			j.Ours = append(j.Ours, c)
		case c.picture() && camwarden && slices.Contains(runs.Dead, run):
			j.Stuck = append(j.Stuck, c)
		case c.picture() && runs.Seen.since(stream.Name, c, now) > StuckAfter:
			j.Stuck = append(j.Stuck, c)
		case format == "preload", format == "probe":
			j.Harmless = append(j.Harmless, c)
		case c.internal():
			internal = append(internal, c)
		default:
			j.Viewers = append(j.Viewers, c)
		}
	}
	// go2rtc's own ffmpeg is there because somebody is given what it makes: one of ours if there is nobody else here,
	// or else perhaps a viewer of another stream.
	if len(j.Viewers) == 0 && len(j.Ours)+len(j.Stuck) > 0 {
		j.Harmless = append(j.Harmless, internal...)
	} else {
		j.Viewers = append(j.Viewers, internal...)
	}
	return j
}

// Watched reports whether somebody watches, or may: what could not be seen is not taken for nobody.
func (j Judgement) Watched() bool { return j.Unseen || len(j.Viewers) > 0 }

// Words says who is there, for an operator; empty when nobody is.
func (j Judgement) Words() string {
	var said []string
	if j.Unseen {
		said = append(said, "go2rtc does not tell who watches")
	}
	for _, row := range []struct {
		consumers []Consumer
		one, many string
	}{
		{j.Viewers, "1 viewer: ", "%d viewers: "},
		{j.Ours, "of ours: ", "%d of ours: "},
		{j.Stuck, "stuck: ", "%d stuck: "},
		{j.Harmless, "harmless: ", "%d harmless: "},
	} {
		if len(row.consumers) == 0 {
			continue
		}
		head := row.one
		if n := len(row.consumers); n > 1 {
			head = fmt.Sprintf(row.many, n)
		}
		said = append(said, head+names(row.consumers))
	}
	return strings.Join(said, "; ")
}

// names lists the first few.
func names(consumers []Consumer) string {
	const few = 3
	var list []string
	for _, c := range consumers[:min(few, len(consumers))] {
		list = append(list, c.Who())
	}
	if more := len(consumers) - few; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}
