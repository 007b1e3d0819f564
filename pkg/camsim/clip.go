package camsim

import (
	"bytes"
	_ "embed" // the clips are part of the program
	"errors"
	"fmt"
	"time"
)

// How they were made is written in clip/README.md.
var (
	//go:embed clip/moving.h264
	movingClip []byte
	//go:embed clip/calm.h264
	calmClip []byte
)

const (
	frameTime = time.Second / 10 // between two pictures, in both clips
	pictures  = 4                // groups of pictures in the moving clip
)

// H.264 NAL unit types (Rec. ITU-T H.264 table 7-1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
)

// frame is one coded picture: a single slice in both clips.
type frame struct {
	nal []byte
	key bool
}

// film is what a camera can see: parameter sets, four moving groups of pictures, and one calm one.
type film struct {
	sps, pps []byte
	moving   [pictures][]frame
	calm     []frame
}

// loadFilm parses the embedded clips; the frames point into them.
func loadFilm() (*film, error) {
	f := &film{}
	groups, err := f.parse(movingClip)
	if err != nil {
		return nil, fmt.Errorf("clip moving.h264: %w", err)
	}
	if len(groups) != pictures {
		return nil, fmt.Errorf("clip moving.h264: %d groups of pictures, want %d", len(groups), pictures)
	}
	copy(f.moving[:], groups)
	groups, err = f.parse(calmClip)
	if err != nil {
		return nil, fmt.Errorf("clip calm.h264: %w", err)
	}
	if len(groups) != 1 {
		return nil, fmt.Errorf("clip calm.h264: %d groups of pictures, want 1", len(groups))
	}
	f.calm = groups[0]
	return f, nil
}

// parse cuts a clip into groups of pictures and takes its parameter sets, which must be the same in every clip.
func (f *film) parse(clip []byte) ([][]frame, error) {
	var groups [][]frame
	for _, nal := range splitAnnexB(clip) {
		switch nal[0] & 0x1f {
		case nalSPS:
			if f.sps != nil && !bytes.Equal(f.sps, nal) {
				return nil, errors.New("a second sequence parameter set")
			}
			f.sps = nal
		case nalPPS:
			if f.pps != nil && !bytes.Equal(f.pps, nal) {
				return nil, errors.New("a second picture parameter set")
			}
			f.pps = nal
		case nalIDR:
			groups = append(groups, []frame{{nal: nal, key: true}})
		case nalSlice:
			if len(groups) == 0 {
				return nil, errors.New("begins without a key frame")
			}
			last := len(groups) - 1
			groups[last] = append(groups[last], frame{nal: nal})
		}
	}
	return groups, nil
}

// splitAnnexB cuts a byte stream into NAL units at its start codes (Rec. ITU-T H.264 annex B).
func splitAnnexB(stream []byte) [][]byte {
	var nals [][]byte
	for _, part := range bytes.Split(stream, []byte{0, 0, 1}) {
		// A four-byte start code leaves its first zero at the end of the part before;
		// a NAL unit itself never ends in zero.
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			nals = append(nals, part)
		}
	}
	return nals
}

// feed is the order of frames one session gets.
type feed struct {
	group []frame // a key frame and what follows it
	gop   int     // frames from key frame to key frame
	lead  int     // frames before the first key frame
}

// newFeed returns the feed of a camera that sees the picture, with a key frame every gop, the first after wait.
func (f *film) newFeed(picture int, gop, wait time.Duration) feed {
	fd := feed{group: f.moving[picture], gop: max(1, int(gop/frameTime)), lead: int(wait / frameTime)}
	if fd.gop > len(fd.group) || fd.lead > 0 {
		fd.group = f.calm
	}
	return fd
}

// at returns the n-th frame of the session.
func (fd feed) at(n int) frame {
	if n < fd.lead {
		// Counted back from the key frame, and round the clip again if it is far: nobody can decode these anyway.
		rest := len(fd.group) - 1
		return fd.group[1+rest-1-(fd.lead-n-1)%rest]
	}
	n = (n - fd.lead) % fd.gop
	if n >= len(fd.group) {
		n = 1 + (n-1)%(len(fd.group)-1)
	}
	return fd.group[n]
}
