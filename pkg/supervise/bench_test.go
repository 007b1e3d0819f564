package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
)

func plainTrue(b *testing.B) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("/bin/true")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
}

// supervisedTrue returns a function that does all that is done for one child: lease, start, end, look, strike.
func supervisedTrue(b *testing.B) func() {
	s, err := New(proc.Default())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	dir, err := os.MkdirTemp("/dev/shm", "supervise") // what /run is: a tmpfs
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	book, err := ledger.Open(dirs(dir), proc.Default(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		held, err := book.Write(ledger.Lease{Kind: ledger.Process, Camera: "gate", Deadline: proc.BootTime() + time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		if e := s.Run(b.Context(), Spec{Path: "/bin/true", Lease: held, Limit: time.Minute}); e.Kind != Exited || e.Code != 0 || e.Err != nil {
			b.Fatalf("%+v", e)
		}
	}
}

func BenchmarkPlainTrue(b *testing.B) {
	for b.Loop() {
		plainTrue(b)
	}
}

func BenchmarkSupervisedTrue(b *testing.B) {
	run := supervisedTrue(b)
	for b.Loop() {
		run()
	}
}

// BenchmarkSupervisedOverPlain takes turns, so that other load on the machine falls on both alike,
// and reports the ratio of the medians. The promise is at most 1.5.
func BenchmarkSupervisedOverPlain(b *testing.B) {
	run := supervisedTrue(b)
	var plain, supervised []time.Duration
	for b.Loop() {
		began := time.Now()
		plainTrue(b)
		between := time.Now()
		run()
		plain, supervised = append(plain, between.Sub(began)), append(supervised, time.Since(between))
	}
	slices.Sort(plain)
	slices.Sort(supervised)
	half := len(plain) / 2
	b.ReportMetric(float64(plain[half].Microseconds()), "plain-us")
	b.ReportMetric(float64(supervised[half].Microseconds()), "supervised-us")
	b.ReportMetric(float64(supervised[half])/float64(plain[half]), "ratio")
}
