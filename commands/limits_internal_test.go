package commands

import (
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/config"
)

func TestLimits_unnamedCameraIsNotUnknown(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Inventory.Cameras = []camera.Camera{{ID: "gate", Host: "127.1.2.3", Port: 554}, {ID: "ghost", Host: "..", Port: 554}} // no name: nobody is asked
	cfg.Inventory.Subnets = []camera.Subnet{{Name: "office", Cameras: []string{"gate", "ghost"}}}
	for arg, blind := range map[string]int{"127.1.2.3": 0, "127.1.2.0/24": 1, "office": 1, camera.All: 1} {
		terms, err := settings{config: cfg}.scope([]string{arg}, nil)
		if err != nil || len(terms.Blind) != blind {
			t.Errorf("%s: %+v, %v", arg, terms.Blind, err)
		}
	}
}
