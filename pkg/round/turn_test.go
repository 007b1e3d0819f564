package round

import (
	"slices"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/proc"
)

func cams(ids ...string) []camera.Camera {
	var list []camera.Camera
	for _, id := range ids {
		list = append(list, camera.Camera{ID: id})
	}
	return list
}

func ids(list []camera.Camera) []string {
	var names []string
	for _, c := range list {
		names = append(names, c.ID)
	}
	return names
}

func TestEveryRoundBeginsWithTheNextCamera(t *testing.T) {
	t.Parallel()
	order := cams("a", "b", "c")
	var firsts []string
	first := ""
	for range 4 {
		round := rotate(order, first)
		firsts = append(firsts, round[0].ID)
		visits := make([]Visit, len(round))
		first = next(round, visits)
	}
	if want := []string{"a", "b", "c", "a"}; !slices.Equal(firsts, want) {
		t.Errorf("rounds began with %v, want %v", firsts, want)
	}
	if got := ids(order); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("rotating changed the caller's list to %v", got)
	}
}

func TestTurn_keptFromItIsFirstNext(t *testing.T) {
	t.Parallel()
	visits := []Visit{{OK: true}, {OK: true}, {Skipped: true, Error: fault.New(fault.Deadline, "", "")}, {Skipped: true, Error: fault.New(fault.Deadline, "", "")}}
	if got := next(cams("a", "b", "c", "d"), visits); got != "c" {
		t.Errorf("the next round begins with %q, want c", got)
	}
}

func TestTurn_cameraLeftTheInventory(t *testing.T) {
	t.Parallel()
	if got := ids(rotate(cams("a", "b"), "gone")); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("order %v", got)
	}
	if got := next(cams("only"), make([]Visit, 1)); got != "" {
		t.Errorf("one camera alone has no next one, got %q", got)
	}
}

func TestTurn_coolDownByTheBootClock(t *testing.T) {
	t.Parallel()
	now := int64(proc.BootTime())
	half := turn{EndedBoot: now - int64(30*time.Second), BootID: "this"}
	if left := half.cooling(time.Minute, "this"); left < 25*time.Second || left > 30*time.Second {
		t.Errorf("30 s after a round %s of a minute are left", left)
	}
	if left := half.cooling(time.Minute, "another"); left != 0 {
		t.Errorf("after a reboot %s are left", left)
	}
	if left := half.cooling(10*time.Second, "this"); left != 0 {
		t.Errorf("a cool-down that has passed still counts %s", left)
	}
	if left := (turn{}).cooling(time.Minute, "this"); left != 0 {
		t.Errorf("without any earlier round %s are left", left)
	}
}
