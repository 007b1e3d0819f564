package camsim

import (
	_ "embed" // the clips are part of the program
	"errors"
	"fmt"
	"time"
)

// Codec is how a camera codes its video, and how its groups of pictures are built.
type Codec string

// The codecs. In all of them Picture is told by the bar on top.
const (
	H264        Codec = "h264"         // one slice a picture, no B-frames
	H264Slices  Codec = "h264-slices"  // four slices a picture
	H265        Codec = "h265"         // IDR key frames, no B-frames
	H265BFrames Codec = "h265-bframes" // IDR key frames, three B-frames between two others: not sent in the order they are shown
	H265CRA     Codec = "h265-cra"     // open groups: CRA key frames, followed by pictures that are shown before and need what went before (RASL)
	MJPEG       Codec = "mjpeg"        // RFC 2435: every picture is a key frame
)

// Codecs returns every codec, the default one first.
func Codecs() []Codec { return []Codec{H264, H264Slices, H265, H265BFrames, H265CRA, MJPEG} }

// syntax is what the NAL units of a codec are, or that it has none.
func (c Codec) syntax() syntax {
	switch c {
	case H264, H264Slices:
		return syntaxH264
	case H265, H265BFrames, H265CRA:
		return syntaxH265
	case MJPEG:
		return syntaxJPEG
	}
	return syntaxUnknown
}

type syntax int

const (
	syntaxUnknown syntax = iota
	syntaxH264
	syntaxH265
	syntaxJPEG
)

// Sets is where a camera puts the parameter sets of H.264 or H.265.
type Sets string

// The places for parameter sets. A decoder needs them from one of the two.
const (
	SetsEverywhere Sets = "everywhere" // in the SDP and before every key frame
	SetsInBand     Sets = "in-band"    // before every key frame only
	SetsInSDP      Sets = "sdp"        // in the SDP only
)

// How the clips were made is written in clip/README.md.
var (
	//go:embed clip/moving.h264
	movingH264 []byte
	//go:embed clip/calm.h264
	calmH264 []byte
	//go:embed clip/slices.h264
	slicesH264 []byte
	//go:embed clip/moving.h265
	movingH265 []byte
	//go:embed clip/calm.h265
	calmH265 []byte
	//go:embed clip/reordered.h265
	reorderedH265 []byte
	//go:embed clip/open.h265
	openH265 []byte
	//go:embed clip/pictures.mjpeg
	picturesMJPEG []byte
)

const (
	frameTime = time.Second / 10 // between two pictures, in all embedded clips
	pictures  = 4                // different pictures in each embedded clip but the calm ones
)

// loadFilm parses the embedded clip of a codec; the frames point into it.
func loadFilm(codec Codec) (*film, error) {
	clips := map[Codec]struct{ moving, calm []byte }{
		H264: {movingH264, calmH264}, H264Slices: {slicesH264, nil},
		H265: {movingH265, calmH265}, H265BFrames: {reorderedH265, nil}, H265CRA: {openH265, nil},
		MJPEG: {picturesMJPEG, nil},
	}
	clip, known := clips[codec]
	if !known {
		return nil, fmt.Errorf("unknown codec %q", codec)
	}
	f := &film{codec: codec, frameTime: frameTime}
	groups, err := f.parse(clip.moving)
	if err == nil && codec == MJPEG { // each picture for half a second
		groups = pairs(groups)
	}
	if err == nil && len(groups) != pictures {
		err = fmt.Errorf("%d groups of pictures, want %d", len(groups), pictures)
	}
	if err != nil {
		return nil, fmt.Errorf("the clip of %s: %w", codec, err)
	}
	f.loops = groups
	if clip.calm != nil {
		groups, err = f.parse(clip.calm)
		if err == nil && len(groups) != 1 {
			err = fmt.Errorf("%d groups of pictures, want 1", len(groups))
		}
		if err != nil {
			return nil, fmt.Errorf("the calm clip of %s: %w", codec, err)
		}
		f.calm = groups[0]
	}
	for i := range f.loops {
		f.close(f.loops[i])
	}
	return f, nil
}

// pairs puts every two groups together.
func pairs(groups [][]frame) (paired [][]frame) {
	for i := 0; i+1 < len(groups); i += 2 {
		paired = append(paired, append(groups[i], groups[i+1]...))
	}
	return paired
}

// Clip is a film to show instead of an embedded one. Any number of cameras may share it.
type Clip struct{ film *film }

// ReadClip reads a film: an Annex B byte stream of H264 or H265 that begins with its parameter sets and a key frame and has the
// same sets all through, or JPEG files one after the other (baseline, sides a multiple of 8 and below 2048, as RFC 2435 wants them).
// It is shown at rate pictures a second, which should divide 90 000, and starts anew at its end. The clip keeps the stream: do not change it.
func ReadClip(codec Codec, stream []byte, rate int) (*Clip, error) {
	if codec.syntax() == syntaxUnknown {
		return nil, fmt.Errorf("camsim: unknown codec %q", codec)
	}
	if rate < 1 || rate > 120 {
		return nil, fmt.Errorf("camsim: %d pictures a second is not between 1 and 120", rate)
	}
	f := &film{codec: codec, frameTime: time.Second / time.Duration(rate)}
	groups, err := f.parse(stream)
	if err == nil && len(groups) == 0 {
		err = errors.New("no key frame in it")
	}
	if err != nil {
		return nil, fmt.Errorf("camsim: the clip: %w", err)
	}
	var loop []frame
	for _, group := range groups {
		loop = append(loop, group...)
	}
	f.close(loop)
	f.loops = [][]frame{loop}
	return &Clip{f}, nil
}

// Codec returns what the clip was read as.
func (c *Clip) Codec() Codec { return c.film.codec }

// Pictures returns how many pictures the clip has.
func (c *Clip) Pictures() int { return len(c.film.loops[0]) }
