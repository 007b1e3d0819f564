package capture

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/rtsp"
)

// answer is a source that always gives the same answer.
type answer struct {
	name   string
	check  error
	report Report
	asked  *[]string
	slow   time.Duration
}

func (a answer) Name() string                                     { return a.name }
func (a answer) Check(context.Context) error                      { return a.check }
func (a answer) Notices() []string                                { return nil }
func (a answer) Construct(context.Context, []camera.Camera) error { return nil }
func (a answer) Destruct(context.Context) error                   { return nil }
func (a answer) Capture(ctx context.Context, _ Visit) (Still, Report) {
	*a.asked = append(*a.asked, a.name)
	if a.slow > 0 {
		<-ctx.Done()
	}
	return Still{Width: len(a.name)}, a.report
}

func TestOneTableSaysWhenAnotherSourceMayTry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		class          fault.Class
		dialled, again bool
	}{
		{fault.Timeout, true, false},
		{fault.Timeout, false, false},
		{fault.Exhausted, true, false},
		{fault.Exhausted, false, false},
		{fault.Auth, true, false},
		{fault.Auth, false, false},
		{fault.NotFound, true, false},
		{fault.Refused, true, false},
		{fault.Refused, false, true},
		{fault.Unreachable, true, false},
		{fault.Unreachable, false, true},
		{fault.DNS, false, true},
		{fault.Closed, true, false},
		{fault.Closed, false, true},
		{fault.Protocol, true, true},
		{fault.NoVideo, true, true},
		{fault.Decode, true, true},
		{fault.NotJPEG, true, true},
		{fault.Go2rtc, false, true},
		{fault.Local, false, true},
		{fault.Local, true, false},
		{fault.NoSource, false, true},
		{fault.Busy, false, false},
		{fault.Cooling, false, false},
		{fault.Cancelled, true, false},
		{fault.Deadline, true, false},
		{fault.Brake, false, false},
		{fault.Usage, false, false},
		{"some-new-class", false, false},
	} {
		var asked []string
		first := answer{name: "first", asked: &asked, report: Report{Dialled: c.dialled, Err: fault.New(c.class, "", "no")}}
		chain, err := NewChain(t.Context(), []Source{first, answer{name: "second", asked: &asked}})
		if err != nil {
			t.Fatal(err)
		}
		result := chain.Visit(t.Context(), Visit{Timeout: time.Minute})
		if again := slices.Contains(asked, "second"); again != c.again {
			t.Errorf("after %s (dialled %v): another source tried %v, want %v", c.class, c.dialled, again, c.again)
		}
		if (result.Err == nil) != c.again || len(result.Attempts) != len(asked) || result.Dialled != c.dialled {
			t.Errorf("after %s: result %+v of %v", c.class, result, asked)
		}
	}
}

func TestWhatAnotherServerCouldNotReachIsTriedByUs(t *testing.T) {
	t.Parallel()
	for class, again := range map[fault.Class]bool{fault.Refused: true, fault.Unreachable: true, fault.Closed: true, fault.Timeout: false, fault.Auth: false, fault.Exhausted: false} {
		var asked []string
		chain, _ := NewChain(t.Context(), []Source{
			answer{name: "go2rtc", asked: &asked, report: Report{Dialled: true, Relayed: true, Err: fault.New(class, "", "no")}},
			answer{name: "second", asked: &asked},
		})
		if result := chain.Visit(t.Context(), Visit{Timeout: time.Minute}); !result.Dialled || (len(asked) == 2) != again {
			t.Errorf("after a relayed %s: asked %v, %+v", class, asked, result)
		}
	}
}

func TestChain_HTTPIsAskedOverHTTPAlone(t *testing.T) {
	t.Parallel()
	web := fault.New(fault.Protocol, fault.Options, "HTTP").Because(rtsp.ErrHTTP)
	for relayed, want := range map[bool]int{false: 1, true: 2} { // of go2rtc's own port it says nothing about the camera
		var asked []string
		chain, _ := NewChain(t.Context(), []Source{
			answer{name: "first", asked: &asked, report: Report{Dialled: true, Relayed: relayed, Err: web}},
			answer{name: "second", asked: &asked},
		})
		if chain.Visit(t.Context(), Visit{Timeout: time.Minute}); len(asked) != want {
			t.Errorf("relayed %t: asked %v", relayed, asked)
		}
	}
	if !mayTryAside(web) {
		t.Error("the picture of the camera's own is not tried")
	}
}

func TestAFinalErrorEndsTheVisitWhateverItsClass(t *testing.T) {
	t.Parallel()
	var asked []string
	chain, _ := NewChain(t.Context(), []Source{
		answer{name: "first", asked: &asked, report: Report{Dialled: true, Final: true, Err: fault.New(fault.Protocol, "", "redirected")}},
		answer{name: "second", asked: &asked},
	})
	if result := chain.Visit(t.Context(), Visit{Timeout: time.Minute}); result.Err == nil || len(asked) != 1 {
		t.Errorf("%+v, asked %v", result, asked)
	}
}

func TestSourcesShareOneBudget(t *testing.T) {
	t.Parallel()
	var asked []string
	chain, _ := NewChain(t.Context(), []Source{
		answer{name: "first", asked: &asked, slow: 1, report: Report{Err: fault.New(fault.Go2rtc, "", "hangs")}},
		answer{name: "second", asked: &asked},
	})
	result := chain.Visit(t.Context(), Visit{Timeout: 50 * time.Millisecond})
	if len(asked) != 1 || result.Err == nil || result.Err.Class != fault.Go2rtc {
		t.Errorf("asked %v, %+v", asked, result)
	}
}

func TestACancelledVisitAsksNobody(t *testing.T) {
	t.Parallel()
	var asked []string
	chain, _ := NewChain(t.Context(), []Source{answer{name: "first", asked: &asked}})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	result := chain.Visit(ctx, Visit{Timeout: time.Minute})
	if len(asked) != 0 || result.Err == nil || result.Err.Class != fault.Cancelled || result.Dialled || !strings.Contains(result.Err.Message, "interrupted") {
		t.Errorf("asked %v, %+v", asked, result)
	}
}

func TestChain_keepsTheSourcesThatWork(t *testing.T) {
	t.Parallel()
	var asked []string
	broken := answer{name: "broken", asked: &asked, check: fault.New(fault.Local, "", "program missing").WithHint("install it")}
	chain, err := NewChain(t.Context(), []Source{broken, answer{name: "good", asked: &asked}})
	if err != nil || len(chain.Sources()) != 1 || len(chain.Notices()) != 1 || !strings.Contains(chain.Notices()[0], "program missing") {
		t.Errorf("%v, %d sources, notices %q", err, len(chain.Sources()), chain.Notices())
	}
	_, err = NewChain(t.Context(), []Source{broken})
	if known := fault.From(err, "", ""); known == nil || known.Class != fault.NoSource || known.Hint != "install it" {
		t.Errorf("without a source that works: %+v", known)
	}
	if _, err = NewChain(t.Context(), nil); fault.ClassOf(err) != fault.NoSource {
		t.Errorf("without any source: %v", err)
	}
	broken.check = fault.New(fault.Cancelled, "", "interrupted")
	if _, err = NewChain(t.Context(), []Source{broken, answer{name: "good", asked: &asked}}); fault.ClassOf(err) != fault.Cancelled {
		t.Errorf("cancelled while checking: %v", err)
	}
}

func TestAnAttemptIsShownAsTheDocumentsPromise(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(Attempt{Source: "rtsp", OK: true, DurationMS: 641})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"source":"rtsp","ok":true,"duration_ms":641,"error":null}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// atHand is a source that can be told useless at a glance.
type atHand struct {
	answer

	glance error
}

func (a atHand) StandBy() error { return a.glance }

func TestChain_missingProgramRulesOut(t *testing.T) {
	t.Parallel()
	missing := fault.New(fault.NoSource, "", "not found").WithHint("install it")
	unasked := answer{name: "unasked", check: errors.New("was asked")}
	for name, c := range map[string]struct {
		sources []Source
		want    fault.Class
	}{
		"none listed":           {nil, fault.NoSource},
		"only a missing one":    {[]Source{atHand{unasked, missing}}, fault.NoSource},
		"one that is there":     {[]Source{atHand{unasked, nil}}, ""},
		"one that cannot tell":  {[]Source{unasked}, ""},
		"a second one is there": {[]Source{atHand{unasked, missing}, atHand{unasked, nil}}, ""},
	} {
		err := StandBy(c.sources)
		if fault.ClassOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if known := fault.From(err, fault.Local, ""); len(c.sources) == 1 && c.want != "" && known.Hint != "install it" {
			t.Errorf("%s: the remedy is lost: %+v", name, known)
		}
	}
}
