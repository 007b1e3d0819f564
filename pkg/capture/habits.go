package capture

import (
	"fmt"
	"strings"
	"time"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
)

// byBrand adds to the hint of an error what is known of the camera's brand: how one logs in to it and how it locks, or which
// paths its older and newer ones have.
func byBrand(c camera.Camera, err *fault.Error) *fault.Error {
	b, ok := brand.Get(c.Brand)
	if !ok || err == nil {
		return err
	}
	var words []string
	switch err.Class {
	case fault.Auth:
		if b.LogIn != nil {
			words = append(words, b.Name+" wants: "+b.LogIn.Value)
		}
		if b.Has(brand.FullIs401) {
			words = append(words, "it says the same when all its users are logged in")
		}
		if l := b.Lockout; l != nil && l.Tries > 0 {
			words = append(words, fmt.Sprintf("it locks for %s after %d wrong log-ins", time.Duration(l.Seconds)*time.Second, l.Tries))
		} else if l != nil {
			words = append(words, fmt.Sprintf("it locks for %s after wrong log-ins", time.Duration(l.Seconds)*time.Second))
		}
	case fault.NotFound:
		var others []string
		for _, path := range b.Paths(c.Channel) {
			if path != c.Path {
				others = append(others, path)
			}
		}
		if len(others) > 0 {
			words = append(words, fmt.Sprintf("cameras of %s have %s too", b.Name, strings.Join(others, ", ")))
		}
	}
	if len(words) == 0 {
		return err
	}
	known := *err
	if known.Hint != "" {
		words = append([]string{known.Hint}, words...)
	}
	known.Hint = strings.Join(words, "; ")
	return &known
}
