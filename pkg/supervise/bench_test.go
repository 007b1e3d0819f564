package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

// The two are to be compared within one run: supervised at most 1.5 times plain.

func BenchmarkPlainTrue(b *testing.B) {
	for b.Loop() {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command("/bin/true")
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSupervisedTrue(b *testing.B) {
	s, err := New(proc.Default())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	dir, err := os.MkdirTemp("/dev/shm", "supervise") // what /run is: a tmpfs
	if err != nil {
		b.Skip(err)
	}
	defer os.RemoveAll(dir)
	book, err := ledger.Open(dirs(dir), proc.Default(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		held, err := book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		if e := s.Run(b.Context(), Spec{Path: "/bin/true", Lease: held, Limit: time.Minute}); e.Kind != Exited || e.Code != 0 || e.Err != nil {
			b.Fatalf("%+v", e)
		}
	}
}
