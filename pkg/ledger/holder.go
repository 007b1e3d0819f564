package ledger

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/camwarden/camwarden/pkg/proc"
)

// Holder is who holds a lock, as far as the lock file tells. An identity of zero means that it does not: who took the lock
// a moment ago has not yet written down who it is.
type Holder struct {
	Identity proc.Identity `json:"identity"`
	Run      string        `json:"run"`
	Since    time.Time     `json:"since"`       // wall clock
	Deadline time.Duration `json:"deadline_ns"` // boot-time clock
}

// String names the holder for messages.
func (h Holder) String() string {
	if h.Identity.IsZero() {
		return "another camwarden"
	}
	return fmt.Sprintf("run %s (pid %d, since %s)", h.Run, h.Identity.PID, h.Since.Local().Format(time.DateTime))
}

// sign writes into the lock's files who holds them.
func (k *Lock) sign(h Holder) error {
	content, err := json.Marshal(h)
	if err != nil {
		return err
	}
	for _, f := range k.files {
		if _, err := f.WriteAt(content, 0); err != nil {
			return err
		}
	}
	return nil
}

// read returns who a busy lock file says holds it. The lock is the truth, the text only its explanation:
// half a text, and one by somebody who is dead and thus cannot hold it, say nothing.
func (l *Ledger) read(f *os.File) Holder {
	var h Holder
	buffer := make([]byte, 4096)
	n, _ := f.ReadAt(buffer, 0)
	if json.Unmarshal(buffer[:n], &h) != nil || h.Identity.IsZero() || l.gone(h.Identity) {
		return Holder{}
	}
	return h
}

// wedged reports whether a holder lives but is past its deadline by more than Margin.
func (l *Ledger) wedged(h Holder) bool {
	return !h.Identity.IsZero() && proc.BootTime() > h.Deadline+Margin
}
