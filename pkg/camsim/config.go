package camsim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// film returns what the camera of this configuration can see.
func (c Config) film() (*film, error) {
	if c.Clip == nil {
		return loadFilm(cmp.Or(c.Codec, H264))
	}
	if c.Codec != "" && c.Codec != c.Clip.Codec() {
		return nil, fmt.Errorf("codec %s and a clip of %s", c.Codec, c.Clip.Codec())
	}
	return c.Clip.film, nil
}

// complete fills in the defaults of a configuration and refuses what cannot work.
func (b behaviour) complete(config Config, film *film) (Config, error) {
	config.Path = cmp.Or(config.Path, "/stream1")
	config.Codec = film.codec
	config.Sets = cmp.Or(config.Sets, SetsEverywhere)
	if film.calm != nil {
		config.GOP = cmp.Or(config.GOP, b.defaults.GOP, time.Second)
	}
	config.Delay = cmp.Or(config.Delay, b.defaults.Delay)
	config.Slots = cmp.Or(config.Slots, b.defaults.Slots)
	config.Linger = cmp.Or(config.Linger, b.defaults.Linger)
	config.Full = cmp.Or(config.Full, RefuseSetup)
	config.Requests = cmp.Or(config.Requests, IgnoresRequests)
	if !config.Address.Addr().IsValid() {
		port := cmp.Or(config.Address.Port(), DefaultPort)
		config.Address = netip.AddrPortFrom(DrawSubnet().Addr().Next(), port)
	}
	if err := b.check(config); err != nil {
		return config, err
	}
	return config, b.checkMedia(config, film)
}

// check refuses a complete configuration that cannot work.
func (b behaviour) check(config Config) error {
	switch {
	case !strings.HasPrefix(config.Path, "/"):
		return fmt.Errorf("path %q does not begin with a slash", config.Path)
	case config.Full != RefuseSetup && config.Full != CloseAtPlay:
		return fmt.Errorf("full %q is neither %q nor %q", config.Full, RefuseSetup, CloseAtPlay)
	case config.Requests != IgnoresRequests && config.Requests != ObeysRequests && config.Requests != DislikesRequests:
		return fmt.Errorf("requests %q is none of %q, %q and %q", config.Requests, IgnoresRequests, ObeysRequests, DislikesRequests)
	case config.Slots < 0 || config.Delay < 0 || config.Linger < 0:
		return errors.New("a negative option")
	case b.login && config.Username == "":
		return fmt.Errorf("temper %s needs a user name", b.temper)
	case config.TLS && config.UDP:
		return errors.New("TLS and UDP: the video would go past the TLS connection in the clear")
	case !config.Address.Addr().IsLoopback():
		return fmt.Errorf("%s is not a loopback address: simulated cameras stay on this host", config.Address.Addr())
	}
	return nil
}

// checkMedia refuses what the film cannot show.
func (b behaviour) checkMedia(config Config, film *film) error {
	jpeg := film.codec.syntax() == syntaxJPEG
	switch {
	case film.calm == nil && config.GOP != 0:
		return fmt.Errorf("the key frames of this film (%s) are where they are: leave GOP out", film.codec)
	case film.calm != nil && (config.GOP < frameTime || config.GOP > time.Minute):
		return fmt.Errorf("gop %s is not between %s and 1m", config.GOP, frameTime)
	case config.Picture < 0 || config.Picture >= len(film.loops):
		return fmt.Errorf("picture %d is not between 0 and %d", config.Picture, len(film.loops)-1)
	case config.Sets != SetsEverywhere && config.Sets != SetsInBand && config.Sets != SetsInSDP:
		return fmt.Errorf("sets %q is none of %q, %q and %q", config.Sets, SetsEverywhere, SetsInBand, SetsInSDP)
	case jpeg && config.Sets != SetsEverywhere:
		return fmt.Errorf("%s has no parameter sets to put anywhere", film.codec)
	case jpeg && b.units:
		return fmt.Errorf("temper %s needs a codec with NAL units, which %s is not", b.temper, film.codec)
	}
	return nil
}
