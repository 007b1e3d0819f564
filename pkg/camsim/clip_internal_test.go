package camsim

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func TestTheClipsShareTheirParameterSetsAndBeginWithKeyFrames(t *testing.T) {
	t.Parallel()
	film, err := loadFilm()
	if err != nil {
		t.Fatal(err)
	}
	if len(film.sps) == 0 || len(film.pps) == 0 {
		t.Fatalf("sps of %d bytes, pps of %d", len(film.sps), len(film.pps))
	}
	groups := slices.Concat(film.moving[:], [][]frame{film.calm})
	for i, group := range groups {
		want := int(time.Second / frameTime)
		if i == pictures {
			want = 600
		}
		if len(group) != want || !group[0].key {
			t.Errorf("group %d: %d frames, want %d, the first a key frame", i, len(group), want)
		}
		for n, frame := range group[1:] {
			if frame.key {
				t.Errorf("group %d: frame %d is a key frame too", i, n+1)
			}
		}
	}
	if bytes.Equal(film.moving[0][0].nal, film.moving[1][0].nal) {
		t.Error("two pictures are the same")
	}
}

func TestAParameterSetThatDiffersIsRefused(t *testing.T) {
	t.Parallel()
	loaded, err := loadFilm()
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Concat([]byte{0, 0, 0, 1}, loaded.sps, []byte{0x11})
	if _, err := loaded.parse(other); err == nil {
		t.Error("a second, different sequence parameter set was accepted")
	}
	if _, err := new(film).parse([]byte{0, 0, 1, nalSlice, 9}); err == nil {
		t.Error("a clip without a key frame was accepted")
	}
}

func TestStartCodesOfThreeAndFourBytesBothCut(t *testing.T) {
	t.Parallel()
	got := splitAnnexB([]byte{0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 0, 0, 3, 2, 0, 0, 0, 1, 0x65, 3})
	want := [][]byte{{0x67, 1}, {0x68, 0, 0, 3, 2}, {0x65, 3}}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("cut into % x, want % x", got, want)
	}
}

func TestAFeedHasItsKeyFramesWhereItWasAsked(t *testing.T) {
	t.Parallel()
	film, err := loadFilm()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		gop, wait time.Duration
		keys      []int // of the first 700 frames: the first three
	}{
		"a second":            {time.Second, 0, []int{0, 10, 20}},
		"shorter":             {300 * time.Millisecond, 0, []int{0, 3, 6}},
		"long":                {30 * time.Second, 0, []int{0, 300, 600}},
		"long, joined late":   {30 * time.Second, 12 * time.Second, []int{120, 420}},
		"late":                {time.Second, 2 * time.Second, []int{20, 30, 40}},
		"later than the clip": {time.Second, 65 * time.Second, []int{650, 660, 670}},
	} {
		feed := film.newFeed(0, c.gop, c.wait)
		var keys []int
		for n := range 700 {
			if feed.at(n).key {
				keys = append(keys, n)
			}
		}
		if got := keys[:min(3, len(keys))]; !slices.Equal(got, c.keys) {
			t.Errorf("%s: key frames at %v, want %v", name, got, c.keys)
		}
	}
}
