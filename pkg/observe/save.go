package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
)

// mostBytes bounds what Load reads: 2,000 processes take about 3 MB.
const mostBytes = 64 << 20

// Save writes the observation, so that it can be judged again elsewhere. It holds no secret.
func (s Observation) Save(to io.Writer) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	return encoder.Encode(s)
}

// HowToSave is what to type to get a saved observation.
const HowToSave = "make one with: camwarden doctor --save FILE"

// Load reads what Save wrote. What is none is a usage fault.
func Load(from io.Reader) (Observation, error) {
	var s Observation
	err := json.NewDecoder(io.LimitReader(from, mostBytes)).Decode(&s)
	if err == nil && s.Schema != Schema {
		err = fmt.Errorf("its schema is %q, not %q", s.Schema, Schema)
	}
	if err == nil && s.TakenAt.IsZero() {
		err = fmt.Errorf("it does not say when it was taken")
	}
	if err != nil {
		return Observation{}, fault.New(fault.Usage, "", "not a saved observation: %w", err).
			WithHint("%s", HowToSave)
	}
	s.TakenAt = s.TakenAt.In(time.UTC)
	return s, nil
}
