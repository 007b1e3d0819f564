package depacketize

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// sent is one packet of a scene: its payload, and what is special about it.
type sent struct {
	payload string
	stamp   uint32
	marker  bool
	lost    bool // packets are missing before it
}

const (
	testSPS = "\x67\x42\xc0\x0a\xd9\x04\x7b\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x22\x64\x80"
	testPPS = "\x68\xce\x0f\xc8"
	first   = "\x65\x88\x84" // the first slice of a key frame
	second  = "\x65\x30\x88"
	third   = "\x65\x38\x88"
	delta   = "\x41\x9a\x04" // the only slice of another picture
	code    = "\x00\x00\x00\x01"
)

func described() [][]byte { return [][]byte{[]byte(testSPS), []byte(testPPS)} }

// assemble returns the slices of the key frame that comes out of the scene; "" when none does.
func assemble(t *testing.T, sets [][]byte, scene []sent) (string, *accessUnits) {
	t.Helper()
	u := newAccessUnits(h264Syntax(), sets, 1<<20)
	for _, s := range scene {
		frame, err := u.push(&packet{stamp: s.stamp, marker: s.marker, payload: []byte(s.payload)}, s.lost, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if frame != nil {
			return string(bytes.TrimPrefix(frame.Bytes, []byte(code+testSPS+code+testPPS))), u
		}
	}
	if u.waiting() {
		return string(bytes.TrimPrefix(u.settle(time.Now()).Bytes, []byte(code+testSPS+code+testPPS))), u
	}
	return "", u
}

func TestAKeyFrameIsWholeOrNotGiven(t *testing.T) {
	t.Parallel()
	whole := code + first + code + second + code + third
	stap := "\x18\x00\x03" + first + "\x00\x03" + second
	for name, c := range map[string]struct {
		bare  bool // no parameter sets in the SDP
		scene []sent
		want  string
	}{
		"three slices and a marker":             {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"no marker, but another time stamp":     {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {third, 1, false, false}, {delta, 2, false, false}}, whole},
		"no marker, but another first slice":    {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {third, 1, false, false}, {delta, 1, false, false}}, whole},
		"aggregated":                            {false, []sent{{stap, 1, false, false}, {third, 1, true, false}}, whole},
		"several in one, with start codes":      {false, []sent{{code + first + code + second + "\x00\x00\x01" + third, 1, true, false}}, whole},
		"in fragments":                          {false, []sent{{"\x7c\x85\x88", 1, false, false}, {"\x7c\x45\x84", 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"in one fragment":                       {false, []sent{{"\x7c\xc5\x88\x84", 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"behind an access unit delimiter":       {false, []sent{{"\x09\xf0", 1, false, false}, {first, 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"sets in band, each with a marker":      {true, []sent{{testSPS, 1, true, false}, {testPPS, 1, true, false}, {first, 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"sets in band, aggregated":              {true, []sent{{"\x18\x00\x17" + testSPS + "\x00\x04" + testPPS, 1, false, false}, {first + "", 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"packets lost before it":                {false, []sent{{delta, 1, true, false}, {first, 3, false, true}, {second, 3, false, false}, {third, 3, true, false}}, whole},
		"packets lost in it":                    {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {third, 1, true, true}}, ""},
		"its end lost, by another time stamp":   {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {delta, 2, true, true}}, ""},
		"its end lost, by another first slice":  {false, []sent{{first, 1, false, false}, {second, 1, false, false}, {delta, 1, true, true}}, ""},
		"its beginning lost":                    {false, []sent{{second, 1, false, true}, {third, 1, true, false}}, ""},
		"we came in its middle":                 {false, []sent{{second, 1, false, false}, {third, 1, true, false}}, ""},
		"a fragment without a start":            {false, []sent{{first, 1, false, false}, {"\x7c\x45\x02", 1, true, false}}, ""},
		"a fragment without an end":             {false, []sent{{"\x7c\x85\x88", 1, false, false}, {second, 1, true, false}}, ""},
		"a fragment without an end, marked":     {false, []sent{{"\x7c\x85\x88", 1, true, false}, {delta, 2, true, false}}, ""},
		"a slice amid the fragments of another": {false, []sent{{"\x7c\x85\x88", 1, false, false}, {second, 1, false, false}, {"\x7c\x45\x03", 1, true, false}}, ""},
		"nested aggregation behind a slice":     {false, []sent{{"\x18\x00\x03" + first + "\x00\x06\x18\x00\x03" + second, 1, true, false}}, ""},
		"nested aggregation":                    {false, []sent{{"\x18\x00\x06\x18\x00\x03" + first, 1, true, false}}, ""},
		"an aggregation cut short":              {false, []sent{{"\x18\x00\x03" + first + "\x00\x09" + second, 1, true, false}}, ""},
		"a slice the sender calls damaged":      {false, []sent{{first, 1, false, false}, {"\xe5\x30\x88", 1, true, false}}, ""},
		"a delta slice in it":                   {false, []sent{{first, 1, false, false}, {"\x41\x31\xa0", 1, true, false}}, ""},
		"no parameter sets":                     {true, []sent{{first, 1, true, false}, {delta, 2, true, false}}, ""},
		"only one kind of parameter set":        {true, []sent{{testSPS, 1, false, false}, {first, 1, true, false}}, ""},
		"its new parameter sets lost":           {true, []sent{{testSPS, 1, false, false}, {testPPS, 1, false, false}, {delta, 1, true, false}, {first, 2, true, true}}, ""},
		"only deltas":                           {false, []sent{{delta, 1, true, false}, {delta, 2, true, false}}, ""},
		"interleaved mode":                      {false, []sent{{"\x19\x00\x00\x00\x03" + first, 1, true, false}}, ""},
		"a camera that marks every slice":       {false, []sent{{delta, 1, true, false}, {"\x41\x31\xa0", 1, true, false}, {first, 2, true, false}, {second, 2, true, false}, {third, 2, true, false}, {delta, 3, true, false}}, whole},
		"a damaged one, and then a clean one":   {false, []sent{{first, 1, false, false}, {third, 1, true, true}, {delta, 2, true, false}, {first, 3, false, false}, {second, 3, false, false}, {third, 3, true, false}}, whole},
		"a second layer and padding beside it":  {false, []sent{{"", 1, false, false}, {first, 1, false, false}, {"\x74\x80\x00\x00\x01", 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
		"trailing zeros after each NAL unit":    {false, []sent{{first + "\x00\x00", 1, false, false}, {second, 1, false, false}, {third + "\x00", 1, true, false}}, whole},
		"an empty aggregation beside it":        {false, []sent{{"\x18", 1, false, false}, {"\x18\x00\x00", 1, false, false}, {first, 1, false, false}, {second, 1, false, false}, {third, 1, true, false}}, whole},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sets := described()
			if c.bare {
				sets = nil
			}
			got, u := assemble(t, sets, c.scene)
			if got != c.want {
				t.Errorf("got %q, want %q (%+v)", got, c.want, u.seen)
			}
		})
	}
}

func TestAccessUnit_newParameterSetsReplace(t *testing.T) {
	t.Parallel()
	renewed := "\x68\xce\x0f\xc9"
	got, _ := assemble(t, described(), []sent{{renewed, 1, false, false}, {first, 1, true, false}})
	if want := code + testSPS + code + renewed + code + first; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAKeyFrameBeyondTheLimitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	u := newAccessUnits(h264Syntax(), described(), 1000)
	var err error
	for n := 0; err == nil && n < 100; n++ {
		payload := append([]byte("\x65\x38"), bytes.Repeat([]byte{1}, 98)...)
		if n == 0 {
			payload[1] = 0x88
		}
		_, err = u.push(&packet{payload: payload}, false, time.Now())
	}
	if !errors.Is(err, ErrTooBig) || len(u.open.data) > 1000 {
		t.Errorf("%v with %d bytes kept", err, len(u.open.data))
	}
}

func TestBitReader_expGolomb(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]int{"\x80": 0, "\x40": 1, "\x60": 2, "\x20": 3, "\x38": 6, "\x01\x00": 127, "\x00": -1, "": -1} {
		r := &bitReader{data: []byte(data)}
		got := int(r.ue())
		if r.short {
			got = -1
		}
		if got != want {
			t.Errorf("%x: %d, want %d", data, got, want)
		}
	}
}

// Who waits in vain hears what came instead.
func TestTroubles_sayWhatCame(t *testing.T) {
	t.Parallel()
	deltas := []sent{{delta, 1, true, false}, {delta, 2, true, false}, {delta, 3, true, false}}
	for name, c := range map[string]struct {
		bare  bool
		scene []sent
		want  string
	}{
		"nothing of use":      {false, []sent{{"\x09\xf0", 1, true, false}}, "1 packets came, and no whole picture"},
		"only pictures":       {false, deltas, "each needs earlier ones"},
		"without sets":        {true, deltas, "without parameter sets"},
		"bare key frames":     {true, []sent{{first, 1, true, false}, {delta, 2, true, false}}, "1 came, but never its parameter sets"},
		"damaged key frames":  {false, []sent{{first, 1, true, false}, {third, 1, true, true}, {delta, 2, true, false}}, "1 came, with parts missing"},
		"a refresh, cut down": {false, []sent{{"\x06\x06\x02\x15\x10\x80", 1, false, false}, {delta, 1, true, false}, {delta, 2, true, false}, {delta, 3, true, false}}, "intra refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sets := described()
			if c.bare {
				sets = nil
			}
			if got, u := assemble(t, sets, c.scene); got != "" || !strings.Contains(u.troubles(), c.want) {
				t.Errorf("got %q and %q, want %q", got, u.troubles(), c.want)
			}
		})
	}
}
