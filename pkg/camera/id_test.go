package camera_test

import (
	"strings"
	"testing"

	"github.com/camwarden/camwarden/pkg/camera"
)

func TestAnIDIsMadeOfLettersOfAnyScript(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"gate", "Gate-2.west_side", "門", "व्हिडिओ", "9", "_x", strings.Repeat("a", 64)} {
		if err := camera.ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".hidden", "-flag", "a/b", "a b", "a:b", "a\x00", "\xff", "..", strings.Repeat("a", 65), strings.Repeat("門", 22)} {
		if camera.ValidID(id) == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

func TestASlugIsASCIIAndTellsIDsApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, id := range []string{"gate", "Gate", "ga.te", "ga_te", "ga-te", "門", "窓", "café", "cafe"} {
		slug := camera.Slug(id)
		if other, taken := seen[slug]; taken {
			t.Errorf("%q and %q have the same slug %q", id, other, slug)
		}
		seen[slug] = id
		if strings.Trim(slug, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q: slug %q", id, slug)
		}
	}
	if got := camera.Slug("gate"); !strings.HasPrefix(got, "gate-") || len(got) != len("gate-")+8 {
		t.Errorf("slug of gate: %q", got)
	}
}

func TestALongPathMakesAShortIDOfItsOwn(t *testing.T) {
	t.Parallel()
	a := camera.IDFor("10.0.0.1", 554, "/"+strings.Repeat("門", 40)+"a")
	b := camera.IDFor("10.0.0.1", 554, "/"+strings.Repeat("門", 40)+"b")
	if a == b || camera.ValidID(a) != nil || camera.ValidID(b) != nil {
		t.Errorf("%q and %q", a, b)
	}
}
