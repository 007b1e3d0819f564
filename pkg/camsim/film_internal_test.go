package camsim

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func mustLoad(t *testing.T, codec Codec) *film {
	t.Helper()
	film, err := loadFilm(codec)
	if err != nil {
		t.Fatal(err)
	}
	return film
}

func TestClip_oneSecondOfEachPicture(t *testing.T) {
	t.Parallel()
	size := 0
	for _, clip := range [][]byte{movingH264, calmH264, slicesH264, movingH265, calmH265, reorderedH265, openH265, picturesMJPEG} {
		size += len(clip)
		if len(clip) >= 200<<10 {
			t.Errorf("a clip of %d KiB, the most is 200", len(clip)>>10)
		}
	}
	if size >= 700<<10 {
		t.Errorf("all clips have %d KiB, the most is 700", size>>10)
	}
	for _, codec := range Codecs() {
		film := mustLoad(t, codec) // which compares the parameter sets of all clips of a codec
		want := int(time.Second / frameTime)
		if codec == MJPEG {
			want = 2
		}
		for i, loop := range film.loops {
			if len(loop) != want || !loop[0].key {
				t.Errorf("%s, picture %d: %d frames, want %d, the first a key frame", codec, i, len(loop), want)
			}
			if rest := film.newFeed(i, time.Second, 0).rest; codec != MJPEG && len(rest) != want-1 {
				t.Errorf("%s, picture %d: %d frames are no key frames, want %d", codec, i, len(rest), want-1)
			}
		}
		if film.calm != nil && len(film.calm) != 600 {
			t.Errorf("%s: %d calm frames, want 600", codec, len(film.calm))
		}
		if bytes.Equal(film.loops[0][0].units[0], film.loops[1][0].units[0]) {
			t.Errorf("%s: two pictures are the same", codec)
		}
	}
}

func TestEachCodecIsWhatItsNameSays(t *testing.T) {
	t.Parallel()
	for codec, want := range map[Codec]struct {
		key    int   // NAL unit type
		slices int   // of a picture
		shifts []int // of the first group
	}{
		H264:        {h264IDR, 1, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		H264Slices:  {h264IDR, 4, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		H265:        {h265IDR + 1, 1, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		H265BFrames: {h265IDR + 1, 1, []int{0, 3, 0, -2, -1, 3, 0, -2, -1, 0}}, // shown: 0 4 2 1 3 8 6 5 7 9
		H265CRA:     {h265CRA, 1, []int{0, -3, -6, -6, -5, 0, -3, -6, -6, -5}}, // shown: -2 -4 -3 -1, the key frame, 5 3 1 2 4
	} {
		film := mustLoad(t, codec)
		loop := film.loops[0]
		if got := codec.syntax().kind(loop[0].units[0]); got != want.key {
			t.Errorf("%s: the key frame is of type %d, want %d", codec, got, want.key)
		}
		if got := len(loop[1].units); got != want.slices {
			t.Errorf("%s: %d slices, want %d", codec, got, want.slices)
		}
		var shifts []int
		for _, frame := range loop {
			shifts = append(shifts, frame.shift)
		}
		if !slices.Equal(shifts, want.shifts) {
			t.Errorf("%s: shifts %v, want %v", codec, shifts, want.shifts)
		}
	}
}

func TestFilm_shownOnceAndWithoutAGap(t *testing.T) {
	t.Parallel()
	for _, codec := range Codecs() {
		film := mustLoad(t, codec)
		packets, err := film.packetizer(SetsEverywhere)
		if err != nil {
			t.Fatal(err)
		}
		feed := film.newFeed(1, time.Second, 0)
		var stamps []uint32
		for n := range 100 {
			stamps = append(stamps, packets.pack(feed.at(n), n)[0].Timestamp)
		}
		slices.Sort(stamps)
		for i := 1; i < len(stamps)-5; i++ {
			if stamps[i]-stamps[i-1] != clockRate/10 {
				t.Fatalf("%s: from %d to %d between two pictures", codec, stamps[i-1], stamps[i])
			}
		}
	}
}

func TestFilm_openGroupEndsItsSequence(t *testing.T) {
	t.Parallel()
	for _, loop := range mustLoad(t, H265CRA).loops {
		for i, frame := range loop {
			last := frame.units[len(frame.units)-1]
			if ends := syntaxH265.kind(last) == h265EOS; ends != (i == len(loop)-1) {
				t.Errorf("frame %d ends the sequence: %v", i, ends)
			}
		}
	}
}

func TestAParameterSetThatDiffersIsRefused(t *testing.T) {
	t.Parallel()
	for _, codec := range []Codec{H264, H265} {
		loaded := mustLoad(t, codec)
		other := slices.Concat([]byte{0, 0, 0, 1}, loaded.sets[1], []byte{0x11})
		if _, err := loaded.parse(other); err == nil {
			t.Errorf("%s: a second, different parameter set was accepted", codec)
		}
	}
	for what, stream := range map[string][]byte{
		"nothing":              nil,
		"no key frame":         {0, 0, 1, h264Slice, 0x99},
		"no parameter sets":    {0, 0, 1, h264IDR, 0x99},
		"a broken set":         {0, 0, 1, h264SPS, 0, 0, 1, h264PPS, 0, 0, 1, h264IDR, 0x99},
		"the end of a picture": {0, 0, 1, h264IDR, 0x19},
	} {
		if _, err := ReadClip(H264, stream, 25); err == nil {
			t.Errorf("a clip with %s was accepted", what)
		}
	}
	if _, err := ReadClip(MJPEG, picturesMJPEG[:100], 25); err == nil {
		t.Error("half a JPEG was accepted")
	}
	if _, err := ReadClip("vp8", movingH264, 25); err == nil {
		t.Error("an unknown codec was accepted")
	}
	if _, err := ReadClip(H264, movingH264, 0); err == nil {
		t.Error("a film that stands still was accepted")
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
	for name, c := range map[string]struct {
		codec     Codec
		gop, wait time.Duration
		keys      []int // of the first 700 frames: the first three
	}{
		"a second":             {H264, time.Second, 0, []int{0, 10, 20}},
		"shorter":              {H265, 300 * time.Millisecond, 0, []int{0, 3, 6}},
		"long":                 {H264, 30 * time.Second, 0, []int{0, 300, 600}},
		"long, joined late":    {H265, 30 * time.Second, 12 * time.Second, []int{120, 420}},
		"late":                 {H264, time.Second, 2 * time.Second, []int{20, 30, 40}},
		"later than the clip":  {H264, time.Second, 65 * time.Second, []int{650, 660, 670}},
		"late and reordered":   {H265BFrames, 0, 2 * time.Second, []int{20, 30, 40}},
		"late and open":        {H265CRA, 0, 500 * time.Millisecond, []int{5, 15, 25}},
		"late JPEGs, not none": {MJPEG, 0, time.Second, []int{10, 11, 12}},
	} {
		feed := mustLoad(t, c.codec).newFeed(0, c.gop, c.wait)
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

func TestFilm_lastPacketOfAKeyFrame(t *testing.T) {
	t.Parallel()
	for _, codec := range Codecs() {
		film := mustLoad(t, codec)
		packets, err := film.packetizer(SetsEverywhere)
		if err != nil {
			t.Fatal(err)
		}
		feed, out := film.newFeed(0, time.Second, 0), &outlet{}
		for n := range 25 {
			frame := feed.at(n)
			made := packets.pack(frame, n)
			for i := range made {
				ends := codec.syntax().endsKeyFrame(out.frames(nil, made[i:i+1]))
				if want := frame.key && i == len(made)-1; ends != want {
					t.Errorf("%s: packet %d of %d of frame %d ends a key frame: %v", codec, i+1, len(made), n, ends)
				}
			}
		}
	}
}

func TestARunningStreamKnowsItsNextKeyFrame(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	times := timetable{feed: mustLoad(t, H264).newFeed(0, time.Second, 0), began: began, frameTime: frameTime}
	for after, want := range map[time.Duration]time.Duration{
		0: time.Second, 1: time.Second, 999 * time.Millisecond: time.Second, time.Second: 2 * time.Second, 3456 * time.Millisecond: 4 * time.Second,
	} {
		if got := times.nextKey(began.Add(after)).Sub(began); got != want {
			t.Errorf("%s after the beginning the next key frame is due at %s, want %s", after, got, want)
		}
	}
}
