package proc

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// picture draws a process table: path below the root -> content; a content that begins with "-> " makes a link.
func picture(t *testing.T, files map[string]string) FS {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "-> "); ok && err == nil {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return FS{Root: root}
}

func statOf(pid, parent int, name, state string, start uint64) string {
	return strconv.Itoa(pid) + " (" + name + ") " + state + " " + strconv.Itoa(parent) +
		" 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 " + strconv.FormatUint(start, 10) + " 0 0 0\n"
}

func incident(t *testing.T) FS {
	return picture(t, map[string]string{
		"sys/kernel/random/boot_id": "0b0b\n",
		"self":                      "-> 100",
		"100/ns/pid":                "-> pid:[77]",
		"100/stat":                  statOf(100, 1, "camserver", "S", 500),
		"200/stat":                  statOf(200, 100, "ffmpeg", "S", 600),
		"200/cmdline":               "ffmpeg\x00-i\x00\x00out.jpg\x00",
		"200/environ":               "A=1\x00CAMWARDEN_LEASE=x=y\x00CAMWARDEN_LEASE=second\x00",
		"200/status":                "Name:\tffmpeg\nUid:\t1000\t1001\t1000\t1000\n",
		"200/task/200/children":     "",
		"300/stat":                  statOf(300, 100, "ffmpeg", "Z", 700),
		"300/environ":               "",
		"uptime":                    "1 1",
		"0400/stat":                 "not a process",
	})
}

func TestAPictureOfAProcessTableCanBeRead(t *testing.T) {
	t.Parallel()
	table := incident(t)
	self, err := table.Self()
	if want := (Identity{BootID: "0b0b", PIDNS: 77, PID: 100, Start: 500}); self != want || err != nil {
		t.Errorf("self %+v, %v", self, err)
	}
	all, err := table.All(context.Background())
	if len(all) != 3 || err != nil {
		t.Errorf("all %+v, %v", all, err)
	}
	arguments, err := table.Cmdline(200)
	if !slices.Equal(arguments, []string{"ffmpeg", "-i", "", "out.jpg"}) || err != nil {
		t.Errorf("arguments %q, %v", arguments, err)
	}
	if value, set, err := table.Environ(200, "CAMWARDEN_LEASE"); value != "x=y" || !set || err != nil {
		t.Errorf("environment %q, %v, %v", value, set, err)
	}
	if _, set, err := table.Environ(200, "CAMWARDEN"); set || err != nil {
		t.Errorf("the beginning of a name: %v, %v", set, err)
	}
	if uid, err := table.UID(200); uid != 1001 || err != nil {
		t.Errorf("user %d, %v", uid, err)
	}
	for pid, want := range map[int]Presence{100: Running, 200: Running, 300: Zombie, 400: Gone} {
		start := map[int]uint64{100: 500, 200: 600, 300: 700}[pid]
		got, err := table.Look(Identity{BootID: "0b0b", PIDNS: 77, PID: pid, Start: start})
		if got != want || err != nil {
			t.Errorf("process %d is %v, %v", pid, got, err)
		}
	}
	if children, err := table.Children(200); len(children) != 0 || children == nil || err != nil {
		t.Errorf("children of 200: %v, %v", children, err)
	}
}

func TestChildren_withoutAListOfTheKernel(t *testing.T) {
	t.Parallel()
	table := incident(t)
	if err := os.MkdirAll(filepath.Join(table.Root, "100/task/100"), 0o755); err != nil {
		t.Fatal(err)
	}
	children, err := table.Children(100)
	if !slices.Equal(children, []int{200, 300}) || err != nil {
		t.Errorf("children %v, %v", children, err)
	}
}

func TestAll_unreadableIsCounted(t *testing.T) {
	t.Parallel()
	table := incident(t)
	if err := os.WriteFile(filepath.Join(table.Root, "300/stat"), []byte("300 (torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := table.All(context.Background())
	if len(all) != 2 || err == nil || !strings.Contains(err.Error(), "1 of 3") || !strings.Contains(err.Error(), "300/stat") {
		t.Errorf("%d processes, %v", len(all), err)
	}
	if presence, err := table.Look(Identity{BootID: "0b0b", PIDNS: 77, PID: 300, Start: 700}); presence != Unknown || err == nil {
		t.Errorf("looked: %v, %v", presence, err)
	}
}

func TestATableThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	table := FS{Root: filepath.Join(t.TempDir(), "nowhere")}
	_, all := table.All(context.Background())
	_, boot := table.BootID()
	_, self := table.Self()
	_, _, marked := table.Marked(context.Background(), "X")
	_, conns := table.Connections([]uint16{554})
	_, owned := table.Own([]Conn{{Inode: 1}}, nil)
	for i, err := range []error{all, boot, self, marked, conns, owned} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("question %d: %v", i, err)
		}
	}
}

func TestSelfIsTheSameThroughEveryDoor(t *testing.T) {
	t.Parallel()
	self, err := FS{}.Self()
	if err != nil {
		t.Fatal(err)
	}
	if other := identify(t, os.Getpid()); other != self || self.PID != os.Getpid() || self.IsZero() || self.PIDNS == 0 || len(self.BootID) != 36 {
		t.Errorf("%+v and %+v", self, other)
	}
	if space, err := Default().Namespace(os.Getpid(), "pid"); space != self.PIDNS || err != nil {
		t.Errorf("namespace %d, %v", space, err)
	}
	if presence, err := Default().Look(self); presence != Running || err != nil {
		t.Errorf("%v, %v", presence, err)
	}
}

func TestNothingIsKnownOfAnEmptyIdentity(t *testing.T) {
	t.Parallel()
	if presence, err := Default().Look(Identity{}); presence != Unknown || err == nil {
		t.Errorf("%v, %v", presence, err)
	}
}

func TestAPIDThatIsAThreadIsNoProcess(t *testing.T) {
	t.Parallel()
	id := identify(t, os.Getpid())
	threads, err := list(Default().path(id.PID, "task"))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range numbers(threads) {
		if thread == id.PID {
			continue
		}
		other := id
		other.PID, other.Start = thread, 1
		if presence, err := Default().Look(other); presence != Gone || err != nil {
			t.Errorf("look: %v, %v", presence, err)
		}
		if result, err := Default().Kill(context.Background(), other, 0, kindBound); result.Signal != 0 || result.Outcome == Ended {
			t.Errorf("kill: %+v, %v", result, err)
		}
		return
	}
	t.Fatal("no second thread")
}

func TestAge_byTheBootClock(t *testing.T) {
	t.Parallel()
	before := BootTime()
	_, id := sleeper(t)
	after := BootTime()
	// The start is cut down to whole ticks, so the age is at most a tick too old.
	if start := time.Duration(id.Start) * tick; start < before-tick || start > after {
		t.Errorf("started at %v, not between %v and %v", start, before, after)
	}
	if age := Age(id.Start); age < 0 || age > BootTime()-before+tick {
		t.Errorf("age %v", age)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil || math.Abs(seconds-BootTime().Seconds()) > 5 {
		t.Errorf("uptime %v, boot time %v, %v", seconds, BootTime(), err)
	}
}

func TestAnAgeThatCannotBeToldIsYoung(t *testing.T) {
	t.Parallel()
	for _, start := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxInt64 / uint64(tick), uint64((BootTime() + time.Hour) / tick)} {
		if age := Age(start); age != 0 {
			t.Errorf("start %d: age %v", start, age)
		}
	}
	if age := Age(0); age < BootTime()-time.Minute {
		t.Errorf("since the boot: %v", age)
	}
}
