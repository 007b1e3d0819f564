package camsim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/netip"
	"strings"
)

// Sight is what a picture made by a simulated go2rtc shows. It does not transcode: the picture of an MJPEG camera is that
// camera's own, and of others it draws one, with the bar on top that the key frame has, and below it colours that follow
// from the address and path that were dialled. A comment in the file (marker COM, Rec. ITU-T T.81 section B.2.4.5) says the same in words.
type Sight struct {
	Camera netip.AddrPort // that was dialled; the zero value for a test picture
	Path   string         // with leading slash and query
	Codec  string         // H264, H265 or JPEG
	Test   bool           // go2rtc's test picture, as a flush gives it: never one to keep
}

const sightMark = "camsim go2rtc: "

// SightOf reads what a picture shows. Its error says that no simulated go2rtc made the picture.
func SightOf(picture []byte) (Sight, error) {
	if len(picture) < 6 || !bytes.HasPrefix(picture, []byte{0xff, 0xd8, 0xff, 0xfe}) {
		return Sight{}, errors.New("camsim: the picture is not of a simulated go2rtc: it has no comment")
	}
	end := 4 + int(picture[4])<<8 + int(picture[5])
	if end > len(picture) {
		return Sight{}, errors.New("camsim: the comment of the picture is cut off")
	}
	words, ours := strings.CutPrefix(string(picture[6:end]), sightMark)
	fields := strings.SplitN(words, " ", 3)
	switch {
	case !ours || len(fields) != 3:
		return Sight{}, fmt.Errorf("camsim: the picture is not of a simulated go2rtc: its comment is %.60q", words)
	case fields[1] == "test":
		return Sight{Codec: fields[0], Path: fields[2], Test: true}, nil
	}
	camera, err := netip.ParseAddrPort(fields[1])
	return Sight{Codec: fields[0], Camera: camera, Path: fields[2]}, err
}

// Of reports whether the picture is of the camera's stream.
func (s Sight) Of(camera *Camera) bool {
	return !s.Test && s.Camera == camera.Address() && s.Path == camera.Config().Path
}

// shot is a key frame and where it is from.
type shot struct {
	from *upstream
	key  []byte // the first slice, or a JPEG
	torn bool   // no decoder makes a picture of what go2rtc has of it
}

// develop makes the picture.
func (l *life) develop(s shot) ([]byte, error) {
	if s.torn {
		return nil, errors.New("exit status 1")
	}
	where := "test"
	if s.from.virtual == nil {
		where = s.from.remote()
	}
	words := sightMark + s.from.codec.name + " " + where + " " + s.from.path
	words = words[:min(len(words), 1000)]
	comment := append([]byte{0xff, 0xd8, 0xff, 0xfe, byte((len(words) + 2) >> 8), byte(len(words) + 2)}, words...)
	if s.from.codec.syntax() == syntaxJPEG {
		return append(comment, s.key[2:]...), nil
	}
	number, known := white, false
	if s.from.virtual == nil {
		number, known = l.films.picture(s.from.codec.syntax(), s.key)
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, draw(number, known, words), &jpeg.Options{Quality: 75}); err != nil {
		return nil, err
	}
	return append(comment, file.Bytes()[2:]...), nil
}

// draw draws a picture of the cameras' size: the bar on top, and below it tiles that are the same for the same words.
func draw(number int, known bool, words string) image.Image {
	picture := image.NewRGBA(image.Rect(0, 0, 640, 360))
	seed := sha256.Sum256([]byte(words))
	bar := color.RGBA{0xff, 0xff, 0xff, 0xff}
	switch {
	case !known:
		bar = color.RGBA{seed[0], seed[1], seed[2], 0xff}
	case number != white:
		bar = []color.RGBA{{0xff, 0, 0, 0xff}, {0, 0xff, 0, 0xff}, {0, 0, 0xff, 0xff}, {0xff, 0xff, 0, 0xff}}[number]
	}
	for y := range 360 {
		for x := range 640 {
			colour := bar
			if y >= 40 {
				tile := x/40 + y/40*16
				colour = color.RGBA{seed[tile%32] + byte(x%40), seed[(tile+11)%32] + byte(y%40), seed[(tile*7+3)%32], 0xff}
			}
			picture.SetRGBA(x, y, colour)
		}
	}
	return picture
}
