package proc

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestAnEnvironmentIsReadFromMemoryAsItStandsInItsFile(t *testing.T) {
	t.Parallel()
	cmd := cast(t, "wait", nil)
	cmd.Env = append(cmd.Env, "PEEK_TEST_MARK=here", "PEEK_TEST_LONG="+strings.Repeat("x", 5000))
	started(t, cmd)
	pid := cmd.Process.Pid
	file, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(Default())
	defer r.close()
	if _, err := r.stat(pid); err != nil {
		t.Fatal(err)
	}
	at := environmentAt(r.text)
	memory, ok := r.peek(pid, at)
	if r.shut && os.Getuid() != 0 {
		t.Skip("the memory of other processes is closed to this user")
	}
	if !ok || !slices.Equal(memory, file) {
		t.Errorf("at %+v: %t, %d bytes, the file has %d", at, ok, len(memory), len(file))
	}
	for name, wrong := range map[string]span{
		"nothing": {}, "no memory there": {8, 64}, "the middle of it": {at.start + 3, at.length - 5}, "more than is there": {at.start, 1 << 40},
	} {
		if data, ok := r.peek(pid, wrong); ok {
			t.Errorf("%s: %q", name, data)
		}
	}
	if data, ok := r.peek(1<<22+1, at); ok {
		t.Errorf("of nobody: %q", data)
	}
}

func FuzzEnvironmentAt(f *testing.F) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(stat))
	f.Add("1 (x) S")
	f.Add("1 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 9 3 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if at := environmentAt([]byte(text)); at.length > 0 && at.start == 0 {
			t.Errorf("%+v", at)
		}
	})
}
