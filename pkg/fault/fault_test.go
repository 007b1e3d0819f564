package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/camwarden/camwarden/pkg/fault"
)

func TestAnErrorKeepsItsCauseForErrorsIs(t *testing.T) {
	t.Parallel()
	err := fault.New(fault.Local, "", "cannot write %s: %w", "gate.jpg", fs.ErrPermission)
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause given with percent-w was lost")
	}
	if got, want := err.Error(), "cannot write gate.jpg: permission denied"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestAWrappedErrorIsFoundAgainWithItsClass(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.Auth, fault.Describe, "401 Unauthorized").WithHint("check %s", "gate")
	outer := fmt.Errorf("camera gate: %w", inner)
	if got := fault.From(outer, fault.Local, ""); got != inner {
		t.Errorf("From made a new error %+v instead of finding the wrapped one", got)
	}
	if got := fault.ClassOf(outer); got != fault.Auth {
		t.Errorf("class %q, want auth", got)
	}
	if got := fault.From(errors.New("odd"), fault.Local, fault.Connect); got.Class != fault.Local || got.Step != fault.Connect {
		t.Errorf("a plain error became %+v", got)
	}
	if fault.From(nil, fault.Local, "") != nil {
		t.Error("nil became an error")
	}
}

func TestDocument_classStepMessageHint(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(fault.New(fault.Refused, fault.Connect, "nobody listens").WithHint("is it on?"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"class":"refused","step":"connect","message":"nobody listens","hint":"is it on?"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
