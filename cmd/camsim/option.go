package main

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// wish is a camera as its options describe it.
type wish struct {
	camsim.Config
	clip string // a file
	rate int    // its pictures a second
}

// option is one OPTION=VALUE of the specification of a T.
type option[T any] struct {
	name, value, help string
	set               func(w *T, value string) error
}

// options is the table of those of a camera, in the order of their names.
func options() []option[wish] {
	var codecs []string
	for _, codec := range camsim.Codecs() {
		codecs = append(codecs, string(codec))
	}
	return []option[wish]{
		{"clip", "FILE", "show this film, coded as codec says: Annex B, or JPEG files one after the other", text(func(w *wish) *string { return &w.clip })},
		{"codec", "CODEC", strings.Join(codecs, ", "), text(func(w *wish) *camsim.Codec { return &w.Codec })},
		{"delay", "TIME", "what it delays is said by the temper", duration(func(w *wish) *time.Duration { return &w.Delay })},
		{"full", "HOW", "453 (at SETUP) or close (at PLAY), when no slot is free", text(func(w *wish) *camsim.Full { return &w.Full })},
		{"gop", "TIME", "from key frame to key frame, for h264 and h265", duration(func(w *wish) *time.Duration { return &w.GOP })},
		{"http", "HABIT", "how it gives its own picture over HTTP", text(func(w *wish) *camsim.Habit { return &w.Web })},
		{"join", "BOOL", "one stream for all, which clients join where it is", boolean(func(w *wish) *bool { return &w.JoinAnywhere })},
		{"linger", "TIME", "how long a slot stays taken after an abrupt end", duration(func(w *wish) *time.Duration { return &w.Linger })},
		{"path", "PATH", "of the stream; /stream1 by default", text(func(w *wish) *string { return &w.Path })},
		{"picture", "N", "0 to 3: a red, lime, blue or yellow bar on top", number(func(w *wish) *int { return &w.Picture })},
		{"rate", "N", "pictures a second of the clip; 25 by default", number(func(w *wish) *int { return &w.rate })},
		{"requests", "HOW", "requests for a key frame by RTCP: ignore, obey or dislike (it closes the connection)", text(func(w *wish) *camsim.Requests { return &w.Requests })},
		{"sets", "WHERE", "the parameter sets: everywhere, in-band or sdp", text(func(w *wish) *camsim.Sets { return &w.Sets })},
		{"slots", "N", "sessions at once", number(func(w *wish) *int { return &w.Slots })},
		{"tls", "BOOL", "rtsps, with a certificate signed by itself", boolean(func(w *wish) *bool { return &w.TLS })},
		{"udp", "BOOL", "video over UDP too", boolean(func(w *wish) *bool { return &w.UDP })},
	}
}

func text[W any, T ~string](field func(*W) *T) func(*W, string) error {
	return func(w *W, value string) error {
		*field(w) = T(value)
		return nil
	}
}

func duration[W any](field func(*W) *time.Duration) func(*W, string) error {
	return func(w *W, value string) (err error) {
		*field(w), err = time.ParseDuration(value)
		return err
	}
}

func number[W any](field func(*W) *int) func(*W, string) error {
	return func(w *W, value string) (err error) {
		*field(w), err = strconv.Atoi(value)
		return err
	}
}

func boolean[W any](field func(*W) *bool) func(*W, string) error {
	return func(w *W, value string) (err error) {
		*field(w), err = strconv.ParseBool(value)
		return err
	}
}

// setOption reads OPTION=VALUE with a table of options.
func setOption[T any](table []option[T], w *T, text string) error {
	key, value, ok := strings.Cut(text, "=")
	var names []string
	for _, option := range table {
		names = append(names, option.name)
		if !ok || option.name != key {
			continue
		}
		value, err := url.PathUnescape(value)
		if err == nil {
			err = option.set(w, value)
		}
		if err != nil {
			return fmt.Errorf("option %s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("unknown option %q; there are %s, each with =VALUE", text, strings.Join(names, ", "))
}

// config returns the configuration, with its clip read.
func (w wish) config() (camsim.Config, error) {
	if w.clip == "" {
		if w.rate != 0 {
			return w.Config, fmt.Errorf("option rate without a clip")
		}
		return w.Config, nil
	}
	raw, err := os.ReadFile(w.clip)
	if err != nil {
		return w.Config, fmt.Errorf("option clip: %w", err)
	}
	w.Clip, err = camsim.ReadClip(cmp.Or(w.Codec, camsim.H264), raw, cmp.Or(w.rate, 25))
	if err != nil {
		return w.Config, fmt.Errorf("option clip: %s: %w", w.clip, err)
	}
	return w.Config, nil
}
