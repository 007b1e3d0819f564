package round

import (
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// turn is the durable record of a selection's last round: when it ended, and with which camera the next begins.
type turn struct {
	EndedAt   time.Time `json:"ended_at"`   // wall clock, for people
	EndedBoot int64     `json:"ended_boot"` // boot-time clock, in nanoseconds: it counts, the wall clock may step
	BootID    string    `json:"boot_id"`
	First     string    `json:"first"` // id of the camera the next round begins with
}

func loadTurn(book *ledger.Ledger, key string) turn {
	var t turn
	if found, err := book.Load("turn-"+key, &t); err != nil || !found {
		return turn{} // an unreadable record costs one rotation, not the round
	}
	return t
}

// cooling returns how much of the cool-down is left. After a reboot it has passed: nothing of ours survived.
func (t turn) cooling(cooldown time.Duration, bootID string) time.Duration {
	if t.BootID != bootID || t.EndedBoot == 0 {
		return 0
	}
	return max(0, cooldown-(proc.BootTime()-time.Duration(t.EndedBoot)))
}

// rotate begins the list with the camera of that id. A camera that has left the inventory leaves the order as it is.
func rotate(cams []camera.Camera, first string) []camera.Camera {
	for i, c := range cams {
		if c.ID == first {
			return append(append(make([]camera.Camera, 0, len(cams)), cams[i:]...), cams[:i]...)
		}
	}
	return cams
}

// next says which camera the next round begins with: the first that this one's deadline kept from its turn,
// so that nobody is last for ever, else the second of this round.
func next(cams []camera.Camera, visits []Visit) string {
	for i, v := range visits {
		if v.Skipped && v.Error != nil && (v.Error.Class == "deadline" || v.Error.Class == "brake") {
			return cams[i].ID
		}
	}
	if len(cams) > 1 {
		return cams[1].ID
	}
	return ""
}
