package go2rtc_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/go2rtc"
)

func TestAPictureIsWhatCameWholeAndAsOne(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = replay(t, "frame-ok-headers.txt")
	got, err := s.client().Frame(t.Context(), "camwarden-gate")
	if err != nil || !bytes.Equal(got.JPEG, jpeg(t)) || time.Since(got.At) > time.Minute {
		t.Errorf("%d bytes at %s: %v", len(got.JPEG), got.At, err)
	}
}

func TestEverythingElseIsNoPicture(t *testing.T) {
	t.Parallel()
	whole := jpeg(t)
	raw := func(status int, kind string, body []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return true
		}
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		class  fault.Class
		is     error
		says   string
	}{
		"an empty 200":          {replay(t, "frame-fault-404.txt"), fault.Go2rtc, go2rtc.ErrEmpty, "gave no picture"},
		"an unknown stream":     {replay(t, "frame-unknown-404.txt"), fault.Go2rtc, go2rtc.ErrUnknown, "camwarden streams"},
		"a wrong base path":     {replay(t, "basepath-404.txt"), fault.Go2rtc, nil, "base path"},
		"no log-in":             {replay(t, "auth-401.txt"), fault.Go2rtc, nil, "password_file"},
		"ffmpeg refused":        {replay(t, "frame-transcode-500.txt"), fault.Decode, nil, "exit status 1"},
		"no ffmpeg":             {replay(t, "frame-noffmpeg-500.txt"), fault.Go2rtc, nil, "install ffmpeg where go2rtc runs"},
		"a cut picture":         {raw(200, "image/jpeg", whole[:len(whole)-1]), fault.NotJPEG, nil, "cut off"},
		"another beginning":     {raw(200, "image/jpeg", whole[1:]), fault.NotJPEG, nil, "does not begin"},
		"another type":          {raw(200, "text/html", whole), fault.NotJPEG, nil, "text/html"},
		"one that never ends":   {raw(200, "image/jpeg", make([]byte, 33<<20)), fault.Go2rtc, nil, "more than 32 MiB"},
		"closed without a word": {func(http.ResponseWriter, *http.Request) bool { hangUp(); return true }, fault.Go2rtc, nil, "closed the connection"},
		"closed in the midst": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write(whole[:9])
			return true
		}, fault.Go2rtc, nil, "in the midst"},
		"an interim status only": {raw(204, "image/jpeg", nil), fault.Go2rtc, nil, "204"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.instead = c.answer
			_, err := s.client().Frame(t.Context(), "camwarden-gate")
			wantFault(t, err, c.class, c.says)
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
		})
	}
}

func TestFrame_pictureThatDoesNotCome(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.client().Frame(ctx, "camwarden-gate")
	wantFault(t, err, fault.Timeout, "no picture of camwarden-gate within")
	cancelled, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	_, err = s.client().Frame(cancelled, "camwarden-gate")
	wantFault(t, err, fault.Cancelled)
}

func TestPicturesAreTakenAtOnceAndBesideACall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var all sync.WaitGroup
	all.Add(5)
	ok := replay(t, "frame-ok-headers.txt")
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		all.Done()
		all.Wait() // none is answered before all are there
		return strings.HasSuffix(r.URL.Path, "frame.jpeg") && ok(w, r)
	}
	locks := 0
	c := s.client(func(o *go2rtc.Options) {
		o.Lock = func(context.Context) (func(), error) { locks++; return func() {}, nil }
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.Frame(t.Context(), "camwarden-gate"); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := c.List(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if locks != 1 {
		t.Errorf("the lock was taken %d times, for one call beside the pictures", locks)
	}
}

func TestFrame_nameThatWouldBeDialled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, name := range []string{"", "rtsp://127.0.0.1/x", "exec:reboot"} {
		_, err := s.client().Frame(t.Context(), name)
		wantFault(t, err, fault.Go2rtc)
	}
	if calls := s.said(); len(calls) != 0 {
		t.Errorf("%q", calls)
	}
}

func TestAProbeSaysWhatTheCameraSaid(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		class fault.Class
		step  fault.Step
	}{
		"probe-fault-401-wrong-password.txt":     {fault.Auth, fault.Describe},
		"probe-fault-404.txt":                    {fault.Protocol, fault.Describe},
		"probe-fault-453.txt":                    {fault.Protocol, fault.Describe},
		"probe-fault-closed-at-once.txt":         {fault.Closed, ""},
		"probe-fault-conn-refused.txt":           {fault.Refused, fault.Connect},
		"probe-fault-garbage.txt":                {fault.Protocol, ""},
		"probe-fault-setup-453.txt":              {fault.Protocol, fault.Setup},
		"probe-fault-setup-never-answers.txt":    {fault.Timeout, ""},
		"probe-fault-syn-dropped.txt":            {fault.Timeout, fault.Connect},
		"probe-fault-tcp-open-never-answers.txt": {fault.Timeout, ""},
		"probe-noffmpeg-500.txt":                 {fault.Go2rtc, ""},
		"probe-unknown-404.txt":                  {fault.Go2rtc, ""},
		"stream-probe-fail.txt":                  {fault.NoVideo, fault.Describe},
		"auth-401.txt":                           {fault.Go2rtc, ""},
		"basepath-404.txt":                       {fault.Go2rtc, ""},
		"probe-fault-play-ok-no-media.txt":       {},
		"probe-fault-media-without-keyframe.txt": {},
		"stream-probe.json":                      {},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.instead = replay(t, file)
			err := s.client().Probe(t.Context(), "camwarden-gate")
			if want.class == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			f := wantFault(t, err, want.class)
			if f.Step != want.step {
				t.Errorf("step %q, want %q: %s", f.Step, want.step, f.Message)
			}
			for _, r := range f.Message {
				if r < ' ' || r > '~' {
					t.Errorf("the message holds %q: %q", r, f.Message)
					break
				}
			}
		})
	}
}

func TestProbe_unansweredIsTheCamerasTimeOut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.instead = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	began := time.Now()
	wantFault(t, s.client().Probe(t.Context(), "camwarden-gate"), fault.Timeout, "does not answer it within 3s")
	if took := time.Since(began); took < go2rtc.CallTimeout || took > 10*go2rtc.CallTimeout {
		t.Errorf("it took %s", took)
	}
}
